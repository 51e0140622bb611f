"""The detector here and in SGB: same parameter names, same proposals, detections, losses and scene graphs.

Both benchmarks are called ``maskrcnn_benchmark``, so each runs in a process of its own: this file is also the script
that they run, ``python test_detector_boxes.py embedded|SGB_FOLDER in.pt out.pt``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

REPO = Path(__file__).resolve().parents[2]
SGB = os.environ.get("SGB_HOME", "")
HEAD = "MODEL.ROI_RELATION_HEAD."
DETECTOR = {"MODEL.RELATION_ON": False}
SGDET = {"MODEL.RELATION_ON": True}
CLASSES, SIZES = 21, [(128, 96), (96, 128)]
OPTIONS = {
    "MODEL.DEVICE": "cpu",
    "MODEL.ATTRIBUTE_ON": False,
    "MODEL.BACKBONE.CONV_BODY": "R-50-FPN",
    "MODEL.RESNETS.NUM_GROUPS": 2,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 4,
    "MODEL.RESNETS.STRIDE_IN_1X1": False,
    "MODEL.RESNETS.BACKBONE_OUT_CHANNELS": 16,
    "MODEL.RPN.USE_FPN": True,
    "MODEL.RPN.ANCHOR_STRIDE": (4, 8, 16, 32, 64),
    "MODEL.RPN.ANCHOR_SIZES": (16, 32, 48, 64, 100),
    "MODEL.RPN.ASPECT_RATIOS": (0.23232838, 0.63365731, 1.28478321, 3.15089189),
    "MODEL.RPN.RPN_MID_CHANNEL": 16,
    "MODEL.RPN.PRE_NMS_TOP_N_TRAIN": 300,
    "MODEL.RPN.PRE_NMS_TOP_N_TEST": 200,
    "MODEL.RPN.POST_NMS_TOP_N_TRAIN": 60,
    "MODEL.RPN.POST_NMS_TOP_N_TEST": 40,
    "MODEL.RPN.FPN_POST_NMS_TOP_N_TRAIN": 150,
    "MODEL.RPN.FPN_POST_NMS_TOP_N_TEST": 100,
    "MODEL.RPN.FPN_POST_NMS_PER_BATCH": False,
    "MODEL.ROI_HEADS.USE_FPN": True,
    "MODEL.ROI_HEADS.POSITIVE_FRACTION": 0.5,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 32,
    "MODEL.ROI_HEADS.DETECTIONS_PER_IMG": 14,
    "MODEL.ROI_HEADS.NMS_FILTER_DUPLICATES": True,
    "MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR": "FPN2MLPFeatureExtractor",
    "MODEL.ROI_BOX_HEAD.PREDICTOR": "FPNPredictor",
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
    "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": 2,
    "MODEL.ROI_BOX_HEAD.POOLER_SCALES": (0.25, 0.125, 0.0625, 0.03125),
    "MODEL.ROI_BOX_HEAD.NUM_CLASSES": CLASSES,
    "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM": 32,
    "MODEL.ROI_ATTRIBUTE_HEAD.NUM_ATTRIBUTES": 2,
    HEAD + "PREDICTOR": "MotifPredictor",
    HEAD + "NUM_CLASSES": 11,
    HEAD + "USE_GT_BOX": False,
    HEAD + "USE_GT_OBJECT_LABEL": False,
    HEAD + "ADD_GTBOX_TO_PROPOSAL_IN_TRAIN": True,
    HEAD + "CAUSAL.EFFECT_ANALYSIS": False,
    HEAD + "EMBED_DIM": 50,
    HEAD + "CONTEXT_HIDDEN_DIM": 24,
    HEAD + "CONTEXT_POOLING_DIM": 48,
    "GLOVE_DIR": "",
}


def model(root: str, content: dict):
    """The whole model of the benchmark at ``root`` with the weights of ``content``, and its BoxList class."""
    sys.path.insert(0, str(REPO))
    if root == "embedded":
        sys.path.insert(0, str(REPO / "maskrcnn_benchmark_hml" / "embedded"))
    else:
        from maskrcnn_benchmark_hml.compat.installer import install

        install(root)
    from maskrcnn_benchmark.config import cfg
    from maskrcnn_benchmark.modeling.detector import build_detection_model
    from maskrcnn_benchmark.modeling.roi_heads.relation_head import roi_relation_predictors
    from maskrcnn_benchmark.structures.bounding_box import BoxList

    cfg.merge_from_list([part for option in content["options"].items() for part in option])
    roi_relation_predictors.get_dataset_statistics = lambda cfg: content["statistics"]
    net = build_detection_model(cfg)
    if content["state"] is None:
        net.load_state_dict(randomised(net.state_dict()))
        opinionated(net, to_images())
        content["state"] = net.state_dict()
    result = net.load_state_dict(content["state"], strict=False)
    assert not result.unexpected_keys
    assert all(name.startswith("rpn.anchor_generator.cell_anchors.") for name in result.missing_keys)
    return net, BoxList


def randomised(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights that make an untrained network see and say something: scores far from even, boxes that move."""
    generator = torch.Generator().manual_seed(3)
    for name, value in state.items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2.0, generator=generator)
        elif name.endswith("running_mean"):
            value.normal_(0.0, 0.1, generator=generator)
        elif name.startswith("backbone.body.") and ".bn" in name and name.endswith("weight"):
            value.uniform_(0.2, 0.6, generator=generator)
        elif name.startswith("rpn.head."):
            value.normal_(0.0, 0.1, generator=generator)
    return state


@torch.no_grad()
def opinionated(net, images) -> None:
    """Gives the classifier and the box offsets a scale at which the boxes of ``images`` differ."""
    features = net.eval().backbone(images.tensors)
    x = net.roi_heads.box.feature_extractor(features, net.rpn(images, features)[0])
    for layer, spread in ((net.roi_heads.box.predictor.cls_score, 2.0), (net.roi_heads.box.predictor.bbox_pred, 1.0)):
        out = layer(x)
        layer.weight *= spread / out.std(0, keepdim=True).t()
        layer.bias.copy_(-(x @ layer.weight.t()).mean(0))


def to_images():
    """Patches of 16 pixels, not white noise, or every box would look alike."""
    from maskrcnn_benchmark.structures.image_list import to_image_list

    generator = torch.Generator().manual_seed(1)
    coarse = [torch.randn(1, 3, height // 16, width // 16, generator=generator) for width, height in SIZES]
    return to_image_list([torch.nn.functional.interpolate(picture, scale_factor=16)[0] for picture in coarse], 64)


def one_of(images, i: int):
    return type(images)(images.tensors[i : i + 1], images.image_sizes[i : i + 1])


def targets(box_list) -> list:
    generator = torch.Generator().manual_seed(11)
    found = []
    for size, count in zip(SIZES, (7, 4)):
        corner = torch.rand(count, 2, generator=generator) * torch.tensor(size) * 0.6
        extent = torch.rand(count, 2, generator=generator) * torch.tensor(size) * 0.35 + 6
        boxes = box_list(torch.cat((corner, corner + extent), 1), size)
        boxes.add_field("labels", torch.randint(1, CLASSES, (count,), generator=generator))
        boxes.add_field("attributes", torch.zeros(count, 10, dtype=torch.int64))
        boxes.add_field("relation", torch.zeros(count, count, dtype=torch.int64), is_triplet=True)
        found.append(boxes)
    return found


def fields(boxes, *names: str) -> dict[str, torch.Tensor]:
    return {"boxes": boxes.bbox.detach().clone(), **{n: boxes.get_field(n).detach().clone() for n in names}}


def run(root: str, source: str, destination: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    content = torch.load(source, weights_only=True)
    net, box_list = model(root, content)
    images = to_images()
    result = {"state": content["state"], "train": [], "test": [], "graph": []}
    relation = content["options"]["MODEL.RELATION_ON"]
    names = ["pred_scores", "pred_labels"]
    if relation:
        names += ["labels", "predict_logits", "boxes_per_cls"]
    for phase in ("train", "test"):
        net.train(phase == "train")
        with torch.no_grad():
            features = net.backbone(images.tensors)
            proposals, _ = net.rpn(images, features, targets(box_list))
            result[phase] += [fields(p, "objectness") for p in proposals]
            if relation or phase == "test":
                _, found, _ = net.roi_heads.box(features, proposals, targets(box_list))
                result[phase] += [fields(p, *names) for p in found]
    if relation:
        for i in range(2):
            with torch.no_grad():
                (found,) = net.eval()(one_of(images, i), targets(box_list)[i : i + 1])
            graph = fields(found, "pred_labels", "pred_scores", "rel_pair_idxs", "pred_rel_scores", "pred_rel_labels")
            pairs, scores = graph["rel_pair_idxs"], graph["pred_rel_scores"]
            graph["ranking"] = graph["pred_scores"][pairs].prod(1) * scores[:, 1:].max(1).values
            # One proposal under several classes gives triplets of equal score, which the two sort differently.
            order = (pairs[:, 0] * len(found) + pairs[:, 1]).argsort()
            for name in ("rel_pair_idxs", "pred_rel_scores", "pred_rel_labels"):
                graph[name] = graph[name][order]
            result["graph"].append(graph)
    else:
        torch.manual_seed(5)
        losses = net.train()(images, targets(box_list))
        result["losses"] = {name: value.detach() for name, value in losses.items()}
    torch.save(result, destination)


def in_process(root: str, content: dict, folder: Path) -> dict:
    source, destination = folder / "in.pt", folder / "out.pt"
    torch.save(content, source)
    command = [sys.executable, __file__, root, str(source), str(destination)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(destination, weights_only=True)


@pytest.mark.upstream
@pytest.mark.skipif(not SGB, reason="needs a Scene-Graph-Benchmark.pytorch checkout in SGB_HOME")
@pytest.mark.parametrize(
    "extra",
    [
        DETECTOR,
        {**DETECTOR, "MODEL.RPN.FPN_POST_NMS_PER_BATCH": True, "MODEL.RPN.STRADDLE_THRESH": 10},
        {**DETECTOR, "MODEL.ROI_HEADS.NMS_FILTER_DUPLICATES": False, "MODEL.CLS_AGNOSTIC_BBOX_REG": True},
        SGDET,
        {**SGDET, "MODEL.ROI_HEADS.NMS_FILTER_DUPLICATES": False, "MODEL.ROI_HEADS.POST_NMS_PER_CLS_TOPN": 3},
    ],
)
def test_same_weights_give_the_same_boxes(extra: dict, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(2)
    content = {
        "options": {**OPTIONS, **extra},
        "statistics": {
            "pred_dist": torch.randn(CLASSES, CLASSES, 11, generator=generator),
            "obj_classes": ["__background__", *(f"object{i}" for i in range(CLASSES - 1))],
            "rel_classes": ["__background__", *(f"predicate{i}" for i in range(10))],
            "att_classes": ["__background__", "red"],
        },
        "state": None,
    }
    ours = in_process("embedded", content, tmp_path)
    theirs = in_process(str(Path(SGB).resolve()), {**content, "state": ours["state"]}, tmp_path)
    for phase in ("train", "test", "graph"):
        assert len(ours[phase]) == len(theirs[phase])
        for here, there in zip(ours[phase], theirs[phase]):
            for name in here:
                torch.testing.assert_close(here[name], there[name], rtol=1e-4, atol=2e-3 if name == "boxes" else 1e-4)
    for name, value in ours.get("losses", {}).items():
        torch.testing.assert_close(value, theirs["losses"][name], rtol=1e-4, atol=1e-5)
    for found in ours["test"][2:]:  # a comparison of something: several boxes of several classes, not one score
        assert len(found["boxes"]) >= 5 and len(found["pred_labels"].unique()) >= 2
        assert found["pred_scores"].std() > 0.01


if __name__ == "__main__":
    run(*sys.argv[1:])
