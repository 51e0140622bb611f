"""Every host name that HML touches, and where forks differ. The one file to edit when a fork renames something."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from ..errors import HMLError
from ..resources import embedded_root

#: Names that the training script must hold as globals; HML replaces them for the length of one stage.
SCRIPT_NAMES = (
    "train", "build_detection_model", "make_optimizer", "make_lr_scheduler", "make_data_loader",
    "DetectronCheckpointer", "clip_grad_norm",
)
#: Names that HML uses if they are there, and what is lost if not.
OPTIONAL_NAMES = {
    "run_val": "validation due at a resumed checkpoint is not repeated",
    "inference": "HML.VAL_METRIC mR has no effect",
    "amp": "the gradient scaler's state is not saved",
    "reduce_loss_dict": "metrics.jsonl has no losses",
}
#: A script's own check of the settings, which the bundled scripts have: called before a run's folder is begun.
OWN_CHECK = "check_settings"
#: Settings that name a part of the model, and the host's registry of these parts.
PARTS = {
    "MODEL.BACKBONE.CONV_BODY": "BACKBONES",
    "MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR": "ROI_BOX_FEATURE_EXTRACTORS",
    "MODEL.ROI_BOX_HEAD.PREDICTOR": "ROI_BOX_PREDICTOR",
}
#: Attribute paths on the model.
RELATION_HEAD = "roi_heads.relation"
BOX_CLASSIFIER = "roi_heads.box.predictor."
HEAD_NAMES = ("predictor", "samp_processor", "loss_evaluator", "box_feature_extractor")
DECODER = "decoder_rnn"
CRITERION = "criterion_loss"
POOLER, REDUCE = "pooler", "reduce_channel"
SAMPLERS = ("gtbox_relsample", "detect_relsample")
SAMPLER_ENDING = "_relsample"
#: Pairs per image, and the largest share of annotated ones, as the samplers' attributes.
SAMPLER_SIZES = ("batch_size_per_image", "positive_fraction")
#: Parameters under the relation head that F, Omega and MR act on, and those added by HML.MR.EXTRACTORS.
TRACKED = ("predictor.",)
EXTRACTORS = ("box_feature_extractor.", "union_feature_extractor.")


@dataclass(frozen=True)
class Probe:
    """What was found of the script's hook points."""

    found: tuple[str, ...]
    missing: tuple[str, ...]
    missing_optional: tuple[str, ...]

    def describe(self) -> str:
        total = len(self.found) + len(self.missing) + len(self.missing_optional)
        text = f"{len(self.found)} of {total} hook points found"
        if self.missing_optional:
            text += "; without " + ", ".join(f"{name} ({OPTIONAL_NAMES[name]})" for name in self.missing_optional)
        return text


def probe(namespace: Mapping[str, Any]) -> Probe:
    """Look for the hook points in a training script's globals."""
    has = lambda name: namespace.get(name) is not None  # noqa: E731
    return Probe(
        tuple(n for n in (*SCRIPT_NAMES, *OPTIONAL_NAMES) if has(n)),
        tuple(n for n in SCRIPT_NAMES if not has(n)),
        tuple(n for n in OPTIONAL_NAMES if not has(n)),
    )


def require(namespace: Mapping[str, Any], script: str) -> Probe:
    """``probe``, but a missing hook point that HML cannot do without is an error that names it."""
    result = probe(namespace)
    if result.missing:
        raise HMLError(
            f"{script} has no {', '.join(result.missing)}, which HML needs; it works with training scripts that keep "
            "SGB's names (train, make_optimizer, ...), so restore them or set HML.ENABLED False"
        )
    return result


def relation_head(model: nn.Module) -> Any:
    """The relation head of a detector (or of its DistributedDataParallel wrapper), with its hook points checked."""
    model = getattr(model, "module", model)
    head: Any = model
    for name in RELATION_HEAD.split("."):
        head = getattr(head, name, None)
    missing = [name for name in HEAD_NAMES if not hasattr(head, name)]
    lazy = [name for name, p in head.named_parameters() if is_lazy(p)] if isinstance(head, nn.Module) else []
    if lazy:
        raise HMLError(
            f"{RELATION_HEAD}.{lazy[0]} has no shape before the first forward (a torch.nn.Lazy module), and HML copies "
            "the head before; give this layer its input size"
        )
    if head is None or missing:
        raise HMLError(
            f"the model has no {RELATION_HEAD}{'.' + missing[0] if head is not None else ''}; HML needs a relation "
            "model (MODEL.RELATION_ON True) whose relation head keeps SGB's attribute names"
        )
    return head


def sampler_names(processor: Any) -> list[str]:
    """The methods of a ``samp_processor`` that sample training pairs: SGB's two, and further ones that a fork has."""
    own = (name for name in dir(processor) if name.endswith(SAMPLER_ENDING))
    return sorted(name for name in {*SAMPLERS, *own} if callable(getattr(processor, name, None)))


def teacher_reads_labels(predictor: Any) -> None:
    """Let MOTIFS' decoder in a frozen predictor take the objects' labels from the proposals, as the student's does.

    In eval mode it decodes one image at a time, asserts that, needs test-time fields of the proposals, and decodes
    labels of its own: CR then differs by up to 26 % (docs/settings.md). Tree decoders (no ``labels`` argument) stay in
    eval: in train mode they would draw labels at random.
    """
    for name, module in list(predictor.named_modules()):
        inner, _, leaf = name.rpartition(".")
        if leaf == DECODER and "labels" in inspect.signature(module.forward).parameters:
            module.training = True
            module.rnn_drop = 0.0
            predictor.get_submodule(inner).training = True  # the flag alone: the layers below stay in eval


def calls_loss_evaluator(head: nn.Module) -> bool:
    """Whether the head computes the relation loss itself; in SHA-GCL its predictors do, by their ``criterion_loss``."""
    try:
        source = inspect.getsource(type(head).forward)
    except (OSError, TypeError):  # no source to read: as in SGB
        return True
    block = "if True:\n" if source[:1].isspace() else ""  # dedent would fail on text that starts at column 0
    called = (node.func for node in ast.walk(ast.parse(block + source)) if isinstance(node, ast.Call))
    return any(isinstance(name, ast.Attribute) and name.attr == "loss_evaluator" for name in called)


def wrap_call(owner: Any, name: str, wrapper: Callable[[Callable], Callable]) -> None:
    """Exchange what is called as ``owner.name(...)`` by ``wrapper`` of it.

    Of a module the ``forward`` is exchanged: it stays a child, and its buffers stay in the owner's ``state_dict``.
    """
    called = getattr(owner, name)
    if isinstance(called, nn.Module):
        called.forward = wrapper(called.forward)
    else:
        setattr(owner, name, wrapper(called))


def argument(function: Callable, name: str, position: int, args: Sequence, kwargs: Mapping) -> Any:
    """An argument of a call by its usual name, else by its usual position (forks append and rename)."""
    try:
        bound = inspect.signature(function).bind(*args, **kwargs).arguments
    except TypeError:
        bound = {}
    if name in bound:
        return bound[name]
    return args[position]


def loss_dict(output: Any) -> dict[str, torch.Tensor]:
    """The loss dict of a training forward: the output itself, or item 0 of a tuple (DLFE, EBM, FGPL)."""
    losses = output[0] if isinstance(output, tuple) else output
    if not isinstance(losses, dict):
        raise HMLError(f"the model returned {type(losses).__name__} in training where a dict of losses was expected")
    return losses


def with_relation_loss(losses: Sequence, loss: torch.Tensor) -> tuple:
    """What a loss evaluator returned, with the relation loss exchanged: item 0, or the first of it (FGPL)."""
    first = losses[0]
    return ((loss, *first[1:]) if isinstance(first, (tuple, list)) else loss, *losses[1:])


def as_rows(tensors: Any) -> torch.Tensor:
    """Per-image tensors, concatenated over images."""
    return torch.cat(list(tensors)) if isinstance(tensors, (list, tuple)) else tensors


def dataset_statistics(cfg) -> dict[str, Any]:
    """The host's statistics of the training split: ``fg_matrix`` (O, O, C), ``rel_classes``, ..."""
    module = importlib.import_module("maskrcnn_benchmark.data.build")
    return module.get_dataset_statistics(cfg)


def training_dataset(cfg) -> Any:
    """The dataset of the host's training loader: ``relationships``, ``gt_boxes``, ... after its own filters."""
    return importlib.import_module("maskrcnn_benchmark.data").make_data_loader(cfg, mode="train").dataset


def build_test_loaders(cfg) -> list[Any]:
    """Build the host's validation and test loaders, with its own checks of the data; the validation datasets."""
    module = importlib.import_module("maskrcnn_benchmark.data")
    loaders = module.make_data_loader(cfg, mode="val")
    module.make_data_loader(cfg, mode="test")
    return [loader.dataset for loader in (loaders if isinstance(loaders, (list, tuple)) else [loaders])]


def known_predictors() -> list[str]:
    """Names in the host's predictor registry."""
    importlib.import_module("maskrcnn_benchmark.modeling.roi_heads.relation_head.roi_relation_predictors")
    registry = importlib.import_module("maskrcnn_benchmark.modeling.registry")
    return sorted(registry.ROI_RELATION_PREDICTOR)


def initialiser_source(predictor: str) -> str:
    """The source of a registered predictor's ``__init__``; "" if there is none to read."""
    registry = importlib.import_module("maskrcnn_benchmark.modeling.registry").ROI_RELATION_PREDICTOR
    try:
        return inspect.getsource(registry[predictor].__init__) if predictor in known_predictors() else ""
    except (OSError, TypeError):
        return ""


def decodes_one_image(predictor: str, cfg: Mapping[str, Any]) -> bool:
    """Whether a predictor decodes object labels by SGB's MOTIFS decoder, which asserts one image at a time in tests."""
    source = initialiser_source(predictor)
    causal = cfg["MODEL"]["ROI_RELATION_HEAD"].get("CAUSAL", {}).get("CONTEXT_LAYER")
    if not re.search(r"(?<!VCTree)\bLSTMContext\(", source) or ("CONTEXT_LAYER" in source and causal != "motifs"):
        return False
    module = importlib.import_module("maskrcnn_benchmark.modeling.roi_heads.relation_head.model_motifs")
    try:
        return "l_batch == 1" in inspect.getsource(module.DecoderRNN.forward)
    except (AttributeError, OSError, TypeError):
        return False


def asserts_attributes(predictor: str) -> bool:
    """Whether a predictor asserts that ROI_ATTRIBUTE_HEAD.NUM_ATTRIBUTES is the data's, whatever ATTRIBUTE_ON says."""
    return bool(re.search(r"assert .*num_att_cls", initialiser_source(predictor)))


def validation_metric() -> str:
    """What a relation model's validation returns: R@100 in SGB, which forks change; "result" where it is not plain."""
    module = importlib.import_module("maskrcnn_benchmark.data.datasets.evaluation.vg.vg_eval")
    if embedded_root() in Path(module.__file__ or "").resolve().parents:
        return "R@100"
    returned = re.search(r"return float\(np\.mean\(result_dict\[mode \+ ['\"](\w+)['\"]\]\[100\]",
                         inspect.getsource(module))  # fmt: skip
    return {"_recall": "R@100", "_mean_recall": "mR@100"}.get(returned[1] if returned else "", "result")


def dataset_files(cfg, name: str) -> tuple[str, str, str] | None:
    """The annotation, vocabulary and image-list files of a dataset in the host's catalog; None for another format.

    Raises:
        HMLError: the catalog has no such dataset.
    """
    build = importlib.import_module("maskrcnn_benchmark.utils.imports")
    catalog = build.import_file("maskrcnn_benchmark.config.paths_catalog", cfg.PATHS_CATALOG, True).DatasetCatalog
    try:
        arguments = catalog.get(name, cfg)["args"]
    except (AssertionError, RuntimeError, KeyError) as error:
        raise HMLError(f"there is no dataset {name!r} in the catalog {cfg.PATHS_CATALOG}; correct DATASETS") from error
    files = [arguments.get(key) for key in ("roidb_file", "dict_file", "image_file")]
    return tuple(files) if all(isinstance(file, str) for file in files) else None


def registered(key: str) -> list[str]:
    """The names that a setting of PARTS may have in the host; [] if the host has no such registry."""
    importlib.import_module("maskrcnn_benchmark.modeling.detector")  # registers everything
    registry = importlib.import_module("maskrcnn_benchmark.modeling.registry")
    return sorted(getattr(registry, PARTS[key], ()))


def benchmark_config():
    """The host's global config tree."""
    return importlib.import_module("maskrcnn_benchmark.config").cfg
