"""The finder of hook points, by syntax and at run time, on stand-ins of SGB and its forks: good, other, broken."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.host import hook_points
from maskrcnn_benchmark_hml.host.doctor.hook_point_checks import CHECKS, KEYS, check_hook_points
from maskrcnn_benchmark_hml.host.doctor.source import Absent, Source

from .stand_in import (
    BUILD,
    CHECKPOINT,
    DEFAULTS,
    FILES,
    PREDICTORS,
    RELATION_HEAD,
    SAMPLING,
    SCRIPT,
    VG,
    make_checkout,
)

FORWARD = "def forward(self, features, proposals, targets=None, logger=None)"
GIVEN = "proposals, rel_pair_idxs, rel_labels, rel_binarys, roi_features, union_features, logger=None"
CALL = "self.union_feature_extractor(features, proposals, pairs)"
FOUR = "proposals, labels, pairs, binaries = self.samp_processor.gtbox_relsample"


def findings(tmp_path, *edits, without=""):
    found = list(check_hook_points(Source(make_checkout(tmp_path, *edits, without=without))))
    assert [f.subject for f in found] == [name for name, _ in CHECKS]
    return {f.subject: f for f in found if f.state != "ok"}


def test_a_checkout_as_sgb_has_it(tmp_path):
    assert findings(tmp_path) == {}


# What a fork does otherwise -> hook point, state, a piece of the text. The forks that do so stand behind each row.
OTHERWISE = [
    # train(..., writer=None): DLFE; debug=False: RTPB, SGG-ToolKit
    ((SCRIPT, "distributed, logger):\n    loader", "distributed, logger, debug=False):\n    loader"),
     "script: train(cfg, ...), main()", "handled", "debug"),
    ((SCRIPT, "def main()", "def main(path)"), "script: train(cfg, ...), main()", "breaks", "main() needs path"),
    ((SCRIPT, "def train(cfg, local_rank, distributed, logger)", "def train()"),
     "script: train(cfg, ...), main()", "breaks", "takes no config"),
    ((SCRIPT, "def train(", "def do_train("), "script: train(cfg, ...), main()", "breaks", "has no train"),
    ((SCRIPT, "make_lr_scheduler, make_optimizer", "make_lr_scheduler"),
     "script: names that HML replaces", "breaks", "has no make_optimizer"),
    ((SCRIPT, "    from apex import amp\n", "    import apex\n"),
     "script: names that HML replaces", "partly", "amp (the gradient scaler's state is not saved)"),
    # settings read with another library: RTPB
    ((SCRIPT, "    cfg.merge_from_list([])\n", "    cfg = OmegaConf.merge()\n"), "script: settings", "breaks", "own"),
    ((SCRIPT, "import cfg\n", "import settings\n"), "script: settings", "breaks", "restore SGB's way"),
    # settings by dataset: SHA-GCL, DRM
    ((DEFAULTS, "DATASETS.TRAIN = None", "DATASETS.VG_TRAIN = None\n_C.GLOBAL_SETTING.DATASET_CHOICE = 'VG'"),
     "script: settings", "handled", "one DATASETS.TRAIN per dataset"),
    ((DEFAULTS, "DATASETS.TRAIN", "DATASETS.VG_TRAIN"), "script: settings", "breaks", "no setting DATASETS.TRAIN"),
    # further arguments: DLFE, DRM, SGG-ToolKit
    ((BUILD, "start_iter=0)", "start_iter=0, is_label=None)"), "data: make_data_loader", "handled", "is_label"),
    ((BUILD, '(cfg, mode="train", ', '(mode, cfg, '),
     "data: make_data_loader", "breaks", "does not begin with cfg, mode"),
    ((BUILD, "def build_dataset", "def build"), "data: make_data_loader", "breaks", "has no build_dataset"),
    ((BUILD, '"_statistics" + ', ""), "data: statistics cache", "breaks", "keep that name"),
    # other constructors: 10 of 13
    ((VG, "num_val_im=5000", "num_val_im=5000, mode=None"), "data: VGDataset", "handled", "mode"),
    ((VG, "self.gt_classes, ", "self.classes, "), "data: VGDataset", "breaks", "self.gt_classes"),
    ((VG, "def get_groundtruth", "def groundtruth"), "data: VGDataset", "breaks", "get_groundtruth()"),
    ((VG, "class VGDataset", "class Dataset"), "data: VGDataset", "breaks", "has no VGDataset"),
    # cur_iter: CFA; iteration: FGPL; a dozen: SGG-ToolKit
    ((RELATION_HEAD, FORWARD, FORWARD[:-1] + ", cur_iter=None)"), "model: relation head", "handled", "cur_iter"),
    ((RELATION_HEAD, "self.predictor = ", ""), "model: relation head", "breaks", "sets no self.predictor"),
    ((RELATION_HEAD, "added = self.predictor(", "added = self.classify("),
     "model: relation head", "breaks", "never calls"),
    # five items: DLFE
    ((SAMPLING, "pairs, binaries", "pairs, binaries, soft"), "model: samplers", "handled", "5 items"),
    ((SAMPLING, "proposals, labels, pairs, binaries", "pairs"), "model: samplers", "breaks", "does not return"),
    ((SAMPLING, "def detect_relsample", "def detect"), "model: samplers", "breaks", "detect_relsample"),
    # further samplers: CFA, DRM, IETrans, NICE
    ((RELATION_HEAD, FOUR, FOUR.replace("gtbox_relsample", "half_copy")), "model: samplers", "partly", "half_copy"),
    # mixing inside the extractor: CFA; a further argument: SGG-ToolKit
    ((RELATION_HEAD, CALL, CALL[:-1] + ", boxes=None)"), "model: union features", "handled", "line 12"),
    ((RELATION_HEAD, f"union_features = {CALL}", f"union_features, more = {CALL}"),
     "model: union features", "handled", "called"),
    # another order: RTPB; another name: IETrans's GPSNet, SGG-ToolKit's HetSGG
    ((PREDICTORS, GIVEN, GIVEN.replace("rel_binarys, ", "") + ", rel_binarys=None"),
     "model: predictor's arguments", "handled", "in another order"),
    ((PREDICTORS, GIVEN, GIVEN.replace("proposals", "inst_proposals")),
     "model: predictor's arguments", "handled", "MotifPredictor"),
    ((PREDICTORS, "roi_features, union", "x, union"), "model: predictor's arguments", "handled", "other arguments"),
    # four or five items: PENET, NICE
    ((PREDICTORS, "return objects, relations, added", "return objects, relations, added, more"),
     "model: predictor's output", "handled", "4 items"),
    ((PREDICTORS, "return objects, relations, added", "return objects, added"),
     "model: predictor's output", "breaks", "keep SGB's three"),
    # the loss inside the predictor: SHA-GCL, DRM
    ((PREDICTORS, "return objects, relations, added", "return None, None, added"),
     "model: predictor's output", "breaks", "MotifPredictor, OtherPredictor"),
    ((PREDICTORS, "OtherPredictor(MotifPredictor):\n    pass",
      "OtherPredictor(MotifPredictor):\n    def forward(self, " + GIVEN + "):\n        return None, None, added"),
     "model: predictor's output", "partly", "use another predictor"),
    ((PREDICTORS, "@registry.ROI_RELATION_PREDICTOR", "@registry.PREDICTOR"),
     "model: predictor's output", "breaks", "registers no predictor"),
    ((PREDICTORS, "cfg.MODEL.ROI_RELATION_HEAD.PREDICTOR", "cfg.GLOBAL_SETTING.RELATION_PREDICTOR"),
     "model: choice of predictor", "handled", "cfg.GLOBAL_SETTING.RELATION_PREDICTOR"),
    ((PREDICTORS, "cfg.MODEL.ROI_RELATION_HEAD.PREDICTOR", "cfg.NAME"),
     "model: choice of predictor", "partly", "cfg.NAME; set MODEL.ROI_RELATION_HEAD.PREDICTOR"),
    ((PREDICTORS, "registry.ROI_RELATION_PREDICTOR[", "globals()["),
     "model: choice of predictor", "breaks", "nothing up"),
    # eight items: DLFE; three: CFA
    ((RELATION_HEAD, "loss_relation, loss_refine = ", "loss_relation, loss_refine, centre = "),
     "model: loss evaluator", "handled", "3 items"),
    ((RELATION_HEAD, "loss_relation, loss_refine", "x = self.wsup_loss_evaluator(1)\n        loss_relation, y"),
     "model: loss evaluator", "partly", "wsup_loss_evaluator"),
    ((RELATION_HEAD, "loss_relation, loss_refine = self.loss_evaluator(proposals, labels, relations, objects)", "pass"),
     "model: loss evaluator", "breaks", "l_new has no place"),
    # a tuple: DLFE, EBM, FGPL
    ((SCRIPT, "losses = model(", "losses, _, _ = model("), "loop: model(images, targets)", "handled", "tuple of 3"),
    ((SCRIPT, "losses = model(", "losses = net("), "loop: model(images, targets)", "breaks", "that dict"),
    ((SCRIPT, "        clip_grad_norm(model.named_parameters(), max_norm=5, logger=logger)\n", ""),
     "loop: clip_grad_norm", "breaks", "never calls"),
    ((CHECKPOINT, "clip_grad_norm(named_parameters,", "clip_grad_norm(parameters,"),
     "loop: clip_grad_norm", "breaks", "first"),
    ((SCRIPT, "enumerate(loader, 0)", "enumerate(loader)"), "loop: backward, clip, step", "breaks", "enumerate"),
    ((SCRIPT, "            scaled.backward()\n", "            optimizer.step()\n            scaled.backward()\n"),
     "loop: backward, clip, step", "breaks", "order"),
    ((SCRIPT, "        optimizer.step()\n        scheduler.step()\n", ""),
     "loop: backward, clip, step", "breaks", "no loop"),
    ((SCRIPT, "with amp.scale_loss(sum(losses.values()), optimizer)", "with sum(losses.values())"),
     "loop: backward, clip, step", "handled", "own precision"),
    # the name alone: RTPB, SGG-ToolKit
    ((CHECKPOINT, "checkpoint(path)", "checkpoint(name)"), "checkpoints", "handled", "without its folder"),
    ((CHECKPOINT, "name, **kwargs", "name, state"), "checkpoints", "breaks", "iteration is not stored"),
    ((CHECKPOINT, "        self.tag_last_checkpoint(path)\n", ""), "checkpoints", "breaks", "nothing can be resumed"),
    ((CHECKPOINT, "def load", "def restore"), "checkpoints", "breaks", "has no DetectronCheckpointer.load"),
]


@pytest.mark.parametrize("edit, point, state, said", OTHERWISE, ids=[f"{row[1]}-{row[3]}" for row in OTHERWISE])
def test_what_a_fork_does_otherwise(tmp_path, edit, point, state, said):
    found = findings(tmp_path, edit)
    assert found[point].state == state and said in found[point].text


OWN_LOSS = "        if self.training:\n            added['rel_loss'] = self.criterion_loss(relations, labels){}\n" \
           "            return None, None, added\n"


@pytest.mark.parametrize("scale, state", [("", "handled"), (" * 36", "breaks")], ids=["SHA-GCL", "DRM"])
def test_a_predictor_that_computes_the_relation_loss_itself(tmp_path, scale, state):
    call = "loss_relation, loss_refine = self.loss_evaluator(proposals, labels, relations, objects)"
    found = findings(
        tmp_path, (RELATION_HEAD, call, "pass"),
        (PREDICTORS, "        return objects, relations, added\n", OWN_LOSS.format(scale)
         + "        return objects, relations, added\n"),
    )
    assert found["model: loss evaluator"].state == state
    assert ("model: predictor's output" in found) == bool(scale)


def test_every_setting_that_is_read_is_looked_for():
    package = Path(hook_points.__file__).parents[1]
    paths = [path for folder in ("host", "training") for path in (package / folder).glob("*.py")]
    # hml predict reads the config of a finished run; the doctor speaks of runs to come.
    texts = [path.read_text() for path in paths if path.stem not in ("inference", "finished_run")]
    found = {name for text in texts for name in re.findall(r"\bcfg\.((?:[A-Z_]+\.)*[A-Z_]+)\b", text)}
    found |= {f"MODEL.ROI_RELATION_HEAD.{n}" for text in texts for n in re.findall(r"\bhead\.([A-Z_]+)\b", text)}
    nodes = {name for name in found if any(key.startswith(name + ".") for key in KEYS)}  # "X" in cfg.TEST
    read = {name for name in found - nodes if not name.startswith("HML")}
    assert read <= set(KEYS)


def test_every_hook_point_has_its_other_and_its_broken_stand_in():
    names = {name for name, _ in CHECKS}
    assert {row[1] for row in OTHERWISE} == names
    never = {"model: union features", "model: predictor's arguments"}
    assert {row[1] for row in OTHERWISE if row[2] == "breaks"} == names - never


@pytest.mark.parametrize("name", [n for n in FILES if n.endswith(("net.py", "build.py", "_head.py", "checkpoint.py"))])
def test_a_missing_or_unreadable_file_is_named(tmp_path, name):
    found = findings(tmp_path / "missing", without=name)
    assert any(f.state == "breaks" and f"{name} does not exist" in f.text for f in found.values())
    (make_checkout(tmp_path / "torn") / name).write_text("def (:\n")
    found = {f.subject: f for f in check_hook_points(Source(tmp_path / "torn"))}
    assert any(f"{name} is not Python that can be read (line 1)" in f.text for f in found.values())


def test_source_follows_imports_and_names_what_is_not_installed(tmp_path):
    guarded = "try:\n    import no_such_c\nexcept ImportError:\n    pass\n\n\n"
    root = make_checkout(
        tmp_path,
        (SCRIPT, "from maskrcnn_benchmark.data ", "import no_such_a\nfrom maskrcnn_benchmark.data.build "),
        (BUILD, "def get_d", "from ..utils import checkpoint\nif True:\n    import no_such_b.c\n\n\ndef get_d"),
        (CHECKPOINT, "class Checkpointer", guarded + "class Checkpointer"),
        (VG, "class VGDataset", "import no_such_d\n\n\nclass VGDataset"),
    )
    source = Source(root)
    assert CHECKPOINT in set(source.files(SCRIPT)) and VG not in set(source.files(SCRIPT))
    assert source.missing_packages(SCRIPT) == {"no_such_a": SCRIPT, "no_such_b": BUILD}
    with pytest.raises(Absent, match=r"has no VGDataset\.nowhere"):
        source.find(VG, "VGDataset", "nowhere")


# -- at run time ------------------------------------------------------------------------------------------------------


def namespace(**changes):
    names = dict.fromkeys((*hook_points.SCRIPT_NAMES, *hook_points.OPTIONAL_NAMES), print)
    return {**names, **changes}


def test_probe_counts_what_it_found():
    assert hook_points.require(namespace(), "x.py").describe() == "11 of 11 hook points found"
    text = hook_points.probe(namespace(amp=None)).describe()
    assert text == "10 of 11 hook points found; without amp (the gradient scaler's state is not saved)"
    with pytest.raises(HMLError, match=r"x\.py has no make_optimizer, clip_grad_norm, which HML needs"):
        hook_points.require(namespace(make_optimizer=None, clip_grad_norm=None), "x.py")


class Head(nn.Module):
    def __init__(self, without: str = "") -> None:
        super().__init__()
        for name in hook_points.HEAD_NAMES:
            if name != without:
                setattr(self, name, nn.Identity())


def detector(head) -> nn.Module:
    model = nn.Module()
    model.roi_heads = nn.Module()
    if head is not None:
        model.roi_heads.relation = head
    return model


def test_relation_head_is_found_within_a_wrapper():
    head = Head()
    wrapper = nn.Module()
    wrapper.module = detector(head)
    assert hook_points.relation_head(wrapper) is head


def test_a_layer_without_a_shape_is_refused():
    head = Head()
    head.predictor = nn.Sequential(nn.LazyLinear(3))
    with pytest.raises(HMLError, match=r"roi_heads\.relation\.predictor\.0\.weight has no shape before the first"):
        hook_points.relation_head(detector(head))


@pytest.mark.parametrize("head, said", [(None, "no roi_heads.relation;"), (Head("predictor"), "relation.predictor;")])
def test_a_model_without_the_hook_point(head, said):
    with pytest.raises(HMLError, match=said):
        hook_points.relation_head(detector(head))


def evaluator(proposals, rel_labels, relation_logits, refine_logits):
    pass


def renamed(boxes, labels, logits, refine, extra=None):
    pass


def test_arguments_by_name_then_by_place():
    argument = hook_points.argument
    assert argument(evaluator, "relation_logits", 2, (1, 2), {"relation_logits": 3, "refine_logits": 4}) == 3
    assert argument(renamed, "relation_logits", 2, (1, 2, 3, 4), {}) == 3
    assert argument(evaluator, "relation_logits", 2, (1, 2, 3, 4, 5), {}) == 3


def test_losses_alone_or_first_of_a_tuple():
    losses = {"loss_rel": torch.zeros(())}
    assert hook_points.loss_dict(losses) is losses and hook_points.loss_dict((losses, None, 1)) is losses
    with pytest.raises(HMLError, match="returned list in training"):
        hook_points.loss_dict([losses])


def test_the_relation_loss_is_exchanged_where_it_stands():
    assert hook_points.with_relation_loss((1, 2), 9) == (9, 2)
    assert hook_points.with_relation_loss((1, 2, 3, None), 9) == (9, 2, 3, None)  # DLFE: 8 items
    assert hook_points.with_relation_loss(((1, 5), 2), 9) == ((9, 5), 2)  # FGPL: with its contrastive loss


def test_rows_of_lists_and_of_tensors():
    rows = [torch.ones(2, 3), torch.zeros(1, 3)]
    assert hook_points.as_rows(rows).shape == (3, 3) and hook_points.as_rows(rows[0]) is rows[0]
