"""A predictor here and in SGB: same parameter names, same logits, same triplets in the same order.

Both benchmarks are called ``maskrcnn_benchmark``, so each runs in a process of its own: this file is also the script
that they run, ``python same_logits.py embedded|SGB_FOLDER JOB in.pt out.pt``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

REPO = Path(__file__).resolve().parents[2]
SGB = os.environ.get("SGB_HOME", "")
HEAD = "MODEL.ROI_RELATION_HEAD."

OPTIONS = {
    "MODEL.DEVICE": "cpu",
    "MODEL.RELATION_ON": True,
    "MODEL.ROI_RELATION_HEAD.CAUSAL.EFFECT_ANALYSIS": True,
    "MODEL.ROI_RELATION_HEAD.EMBED_DIM": 50,
    "MODEL.ROI_RELATION_HEAD.CONTEXT_HIDDEN_DIM": 24,
    "MODEL.ROI_RELATION_HEAD.CONTEXT_POOLING_DIM": 48,
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
    "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": 2,
    "MODEL.ROI_BOX_HEAD.POOLER_SCALES": (0.25, 0.125, 0.0625, 0.03125),
    "MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR": "FPN2MLPFeatureExtractor",
    "MODEL.ROI_BOX_HEAD.NUM_CLASSES": 21,
    "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM": 64,
    "MODEL.ROI_RELATION_HEAD.NUM_CLASSES": 11,
    "MODEL.ROI_ATTRIBUTE_HEAD.NUM_ATTRIBUTES": 2,
    "GLOVE_DIR": "",
}
CHANNELS = 16
SIZES = [(160, 120), (128, 96), (130, 130), (128, 96)]
OBJECTS = [9, 5, 7, 1]


def choose(root: str) -> None:
    """Makes ``maskrcnn_benchmark`` the one at ``root``."""
    sys.path.insert(0, str(REPO))
    if root == "embedded":
        sys.path.insert(0, str(REPO / "maskrcnn_benchmark_hml" / "embedded"))
    else:
        from maskrcnn_benchmark_hml.compat.installer import install

        install(root)


def relation_head(root: str, content: dict):
    """The relation head of the benchmark at ``root``, in eval mode, and its BoxList class."""
    choose(root)
    from maskrcnn_benchmark.config import cfg
    from maskrcnn_benchmark.modeling.roi_heads.relation_head import relation_head, roi_relation_predictors
    from maskrcnn_benchmark.structures.bounding_box import BoxList

    cfg.merge_from_list([part for option in content["options"].items() for part in option])
    roi_relation_predictors.get_dataset_statistics = lambda cfg: content["statistics"]
    head = relation_head.build_roi_relation_head(cfg, CHANNELS)
    if content["state"] is None:
        content["state"] = randomised(head.state_dict())
        for name, factor in content.get("scale", {}).items():
            content["state"][name].mul_(factor)
        content["state"] = {name: value.clone() for name, value in content["state"].items()}
    head.load_state_dict(content["state"], strict=True)
    return head.eval(), BoxList


def randomised(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights with running statistics of which none is the trivial 0 or 1, and with biases."""
    generator = torch.Generator().manual_seed(3)
    for name, value in state.items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2.0, generator=generator)
        elif name.endswith(("running_mean", "bias")):
            value.normal_(0.0, 0.1, generator=generator)
    return state


def inputs() -> dict:
    """Maps of four levels, boxes of four images of three shapes, one of them with a single box."""
    generator = torch.Generator().manual_seed(1)
    features = [torch.randn(4, CHANNELS, 160 // s, 160 // s, generator=generator) for s in (4, 8, 16, 32)]
    images = []
    for (width, height), count in zip(SIZES, OBJECTS):
        corner = torch.rand(count, 2, generator=generator) * torch.tensor([width, height]) * 0.6
        extent = torch.rand(count, 2, generator=generator) * torch.tensor([width, height]) * 0.35 + 3
        images.append(
            {
                "boxes": torch.cat((corner, corner + extent), 1),
                "labels": torch.randint(1, 21, (count,), generator=generator),
                "predict_logits": torch.randn(count, 21, generator=generator) * 3,
            }
        )
        shift = torch.randn(count, 21, 4, generator=generator) * 4  # the box that each class would have
        images[-1]["boxes_per_cls"] = (images[-1]["boxes"][:, None] + shift).clamp(min=0, max=min(width, height) - 1)
    images[0]["boxes"][3] = images[0]["boxes"][2]  # a tie in the order of the sequence
    return {"features": features, "images": images}


def proposals_of(content: dict, box_list: type) -> list:
    boxes = []
    for image, size in zip(content["images"], SIZES):
        boxes.append(box_list(image["boxes"], size))
        boxes[-1].add_field("labels", image["labels"])
        for field in ("predict_logits", "boxes_per_cls"):
            boxes[-1].add_field(field, image[field])
    return boxes


@torch.no_grad()
def graph(root: str, content: dict) -> dict:
    """Logits and ranked triplets of the four images."""
    head, box_list = relation_head(root, content)
    boxes = proposals_of(content, box_list)
    batches = [range(4)] if content["batched"] else [[0], [1], [2], [3]]
    result = {key: [] for key in ("relation", "object", "triplets", "scores", "labels", "ranking")}
    result["state"] = content["state"]
    for batch in batches:
        features = [level[list(batch)] for level in content["features"]]
        proposals = [boxes[i] for i in batch]
        pairs = head.samp_processor.prepare_test_pairs(features[0].device, proposals)
        regions = head.box_feature_extractor(features, proposals)
        unions = head.union_feature_extractor(features, proposals, pairs)
        objects, relations, _ = head.predictor(proposals, pairs, None, None, regions, unions)
        result["relation"] += [r.clone() for r in relations]
        result["object"] += [o.clone() for o in objects]
        for found in head.post_processor((relations, objects), pairs, proposals):
            result["triplets"].append(
                torch.cat((found.get_field("rel_pair_idxs"), found.get_field("pred_rel_labels")[:, None]), 1)
            )
            result["scores"].append(found.get_field("pred_rel_scores").clone())
            result["labels"].append(found.get_field("pred_labels").clone())
            pair_score = found.get_field("pred_scores")[found.get_field("rel_pair_idxs")].prod(1)
            result["ranking"].append(pair_score * result["scores"][-1][:, 1:].max(1).values)
    return result


def gradients(root: str, content: dict) -> dict:
    """One training step of the predictor on all pairs: its own losses, the gradients and the buffers afterwards."""
    head, box_list = relation_head(root, content)
    boxes, features = proposals_of(content, box_list), content["features"]
    pairs = head.samp_processor.prepare_test_pairs(features[0].device, boxes)
    with torch.no_grad():
        regions = head.box_feature_extractor(features, boxes)
        unions = head.union_feature_extractor(features, boxes, pairs)
    predictor = head.predictor.train()
    related = [(torch.arange(n * n).view(n, n) % 3 == 0).long() for n in OBJECTS]
    objects, relations, losses = predictor(boxes, pairs, None, related, regions, unions)
    size = content["object_scale"]
    total = torch.cat(list(relations)).square().mean() + (torch.cat(list(objects)) / size).square().mean()
    (total + sum(losses.values())).backward()
    return {
        "state": content["state"],
        "losses": {name: loss.detach() for name, loss in losses.items()},
        "gradients": {name: p.grad for name, p in predictor.named_parameters() if p.grad is not None},
        "buffers": dict(predictor.named_buffers()),
    }


def trees(root: str, content: dict) -> dict:
    """Per score matrix (n, n) the rows (n, 2) of each object's left and right child, -1 where there is none."""
    choose(root)
    if root == "embedded":
        from maskrcnn_benchmark.modeling.roi_heads.relation_head.padding import Padding
        from maskrcnn_benchmark.modeling.roi_heads.relation_head.trees import grow_forest

        counts = [len(s) for s in content["scores"]]
        padding = Padding(counts, torch.device("cpu"))
        size = padding.size
        padded = torch.stack([torch.nn.functional.pad(s, (0, size - len(s)) * 2, value=2.0) for s in content["scores"]])
        forest = grow_forest(padded, padding)
        levels = forest.order.split(forest.sizes)
        children = torch.full((sum(counts), 2), -1)
        for number, level in enumerate(levels):
            for side, start, places in forest.below(number):
                children[level[places], side] = levels[number + 1][start : start + len(places)]
        first = torch.tensor(counts).cumsum(0) - torch.tensor(counts)
        own = children.split(counts)
        return {"children": [torch.where(c < 0, c, c - start) for c, start in zip(own, first)]}

    from maskrcnn_benchmark.modeling.roi_heads.relation_head import utils_vctree
    from maskrcnn_benchmark.structures.bounding_box import BoxList

    def fill(node, rows: torch.Tensor) -> torch.Tensor:
        for side, child in enumerate((node.left_child, node.right_child)):
            if child is not None:
                rows[node.index, side] = child.index
                fill(child, rows)
        return rows

    boxes = [BoxList(torch.rand(len(s), 4), (9, 9)) for s in content["scores"]]
    for proposal in boxes:
        proposal.add_field("labels", torch.ones(len(proposal), dtype=torch.int64))
    forest = utils_vctree.arbForest_to_biForest(utils_vctree.generate_forest(content["scores"], boxes, "predcls"))
    return {"children": [fill(root, torch.full((len(s), 2), -1)) for root, s in zip(forest, content["scores"])]}


def run(root: str, job: str, source: str, destination: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    content = torch.load(source, weights_only=True)
    torch.save({"graph": graph, "gradients": gradients, "trees": trees}[job](root, content), destination)


def in_process(root: str, job: str, content: dict, folder: Path) -> dict:
    """What ``job`` returns in a process of its own."""
    source, destination = folder / "in.pt", folder / "out.pt"
    torch.save(content, source)
    command = [sys.executable, __file__, root, job, str(source), str(destination)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(destination, weights_only=True)


def both(job: str, content: dict, folder: Path) -> tuple[dict, dict]:
    """Results of the embedded benchmark and of SGB, which takes over the weights of the first."""
    ours = in_process("embedded", job, content, folder)
    return ours, in_process(str(Path(SGB).resolve()), job, {**content, "state": ours.get("state")}, folder)


def content_of(task: str, extra: dict, **more: object) -> dict:
    """Input of a job: random maps, boxes and statistics."""
    generator = torch.Generator().manual_seed(2)
    return {
        **inputs(),
        "options": {
            **OPTIONS,
            HEAD + "USE_GT_BOX": task != "sgdet",
            HEAD + "USE_GT_OBJECT_LABEL": task == "predcls",
            "TEST.RELATION.REQUIRE_OVERLAP": False,
            **extra,
        },
        "statistics": {
            "pred_dist": torch.randn(21, 21, 11, generator=generator),
            "obj_classes": ["__background__", *(f"object{i}" for i in range(20))],
            "rel_classes": ["__background__", *(f"predicate{i}" for i in range(10))],
            "att_classes": ["__background__", "red"],
        },
        "state": None,
        **more,
    }


def compare(folder: Path, task: str, batched: bool, extra: dict) -> None:
    """Asserts that both benchmarks give the same graph from the same random weights.

    Args:
        folder: for the files that the processes exchange.
        task: predcls, sgcls or sgdet.
        batched: all four images at once, else one by one.
        extra: config options on top of ``OPTIONS``.
    """
    ours, theirs = both("graph", content_of(task, extra, batched=batched), folder)
    assert sum(len(r) for r in ours["relation"]) == 9 * 8 + 5 * 4 + 7 * 6 + 1
    for here, there in zip(ours["relation"] + ours["object"], theirs["relation"] + theirs["object"]):
        torch.testing.assert_close(here, there, rtol=0, atol=1e-4)
    for here, there in zip(ours["scores"], theirs["scores"]):
        torch.testing.assert_close(here, there, rtol=0, atol=1e-4)
    assert all(torch.equal(here, there) for here, there in zip(ours["labels"], theirs["labels"]))
    for here, there, score in zip(ours["triplets"], theirs["triplets"], ours["ranking"]):
        assert torch.equal(*(rows[_lexical(rows)] for rows in (here, there)))
        # Only rounding may swap two triplets: their scores are then all but equal.
        place = {tuple(row): i for i, row in enumerate(there.tolist())}
        assert all(abs(score[i] - score[place[tuple(row)]]) < 1e-6 for i, row in enumerate(here.tolist()))


def _lexical(rows: torch.Tensor) -> torch.Tensor:
    """Order of (P, 3) rows by their entries, each below 1000."""
    return (rows * torch.tensor([10**6, 10**3, 1])).sum(1).argsort()


if __name__ == "__main__":
    run(*sys.argv[1:])
