"""Every hook point of a checkout or fork, checked by syntax: all that ``attach``, ``restart`` and ``plan`` use."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator

from .. import hook_points
from ..settings import BY_DATASET
from . import head_checks
from .finding import BREAKS, FINE, HANDLED, PARTLY, Finding, Result, further, some
from .source import PACKAGE, Absent, Source, arguments, assigned, attributes, bound, calls

SCRIPT = "tools/relation_train_net.py"
BUILD = f"{PACKAGE}/data/build.py"
VG = f"{PACKAGE}/data/datasets/visual_genome.py"
CHECKPOINT = f"{PACKAGE}/utils/checkpoint.py"
#: What HML edits or reads of the dataset object.
VG_ATTRIBUTES = ("relationships", "gt_boxes", "gt_classes", "filenames", "img_info", "split_mask")
VG_METHODS = ("get_groundtruth", "get_statistics", "get_img_info")
_VG_ARGUMENTS = (
    "transforms", "filter_empty_rels", "num_im", "num_val_im", "filter_duplicate_rels", "filter_non_overlap",
    "flip_aug", "custom_eval", "custom_path",
)


_DEFAULTS = f"{PACKAGE}/config/defaults.py"
_HEAD = "MODEL.ROI_RELATION_HEAD"
#: Settings of the host that HML reads.
KEYS = (
    "OUTPUT_DIR", "DATASETS.TRAIN", "DATALOADER.ASPECT_RATIO_GROUPING", "SOLVER.IMS_PER_BATCH", "SOLVER.MAX_ITER",
    "SOLVER.STEPS", "SOLVER.TO_VAL", "SOLVER.VAL_PERIOD", "SOLVER.SCHEDULE.TYPE", "SOLVER.SCHEDULE.MAX_DECAY_STEP",
    "TEST.IMS_PER_BATCH", "TEST.ALLOW_LOAD_FROM_CACHE", "MODEL.RELATION_ON", "PATHS_CATALOG",
    f"{_HEAD}.BATCH_SIZE_PER_IMAGE", f"{_HEAD}.POSITIVE_FRACTION", f"{_HEAD}.NUM_CLASSES", f"{_HEAD}.PREDICTOR",
    f"{_HEAD}.USE_GT_BOX", f"{_HEAD}.USE_GT_OBJECT_LABEL", "MODEL.WEIGHT",
)


def script_functions(source: Source) -> Result:
    """The training script has ``train`` and ``main`` with arguments that HML can pass on."""
    needed, optional = arguments(source.find(SCRIPT, "train"))
    main, _ = arguments(source.find(SCRIPT, "main"))
    if main or not needed:
        what = f"main() needs {', '.join(main)}" if main else "train() takes no config"
        return BREAKS, f"{what}; HML calls main() and wraps train(cfg, ...): restore SGB's signatures"
    return further("train", [*needed, *optional], ("cfg", "local_rank", "distributed", "logger"), "passed through")


def script_names(source: Source) -> Result:
    """The script's globals that a stage replaces are there."""
    names = bound(source.tree(SCRIPT))
    missing = [name for name in hook_points.SCRIPT_NAMES if name not in names]
    if missing:
        return BREAKS, f"{SCRIPT} has no {', '.join(missing)}; import them under SGB's names"
    lost = [f"{name} ({text})" for name, text in hook_points.OPTIONAL_NAMES.items() if name not in names]
    return (PARTLY, f"without {', '.join(lost)}") if lost else FINE


def settings(source: Source) -> Result:
    """The config keys that HML reads or changes exist."""
    targets = (t for n in ast.walk(source.tree(_DEFAULTS)) if isinstance(n, ast.Assign) for t in n.targets)
    known = {ast.unparse(t)[len("_C.") :] for t in targets if ast.unparse(t).startswith("_C.")}
    missing = [key for key in KEYS if known and key not in known]
    per_dataset = [key for key in missing if f"{BY_DATASET}.DATASET_CHOICE" in known and _per_dataset(key, known)]
    missing = [key for key in missing if key not in per_dataset]
    if missing:
        return BREAKS, f"there is no setting {some(missing)} (HML reads {len(KEYS)} of SGB's); restore SGB's names"
    uses = {type(n.ctx) for n in ast.walk(source.find(SCRIPT, "main")) if isinstance(n, ast.Name) and n.id == "cfg"}
    if "cfg" not in bound(source.tree(SCRIPT)) or ast.Load not in uses or ast.Store in uses:
        return BREAKS, (
            f"main() does not work on the settings tree {PACKAGE}.config.cfg but on one of its own, so HML's settings "
            "never reach train(); restore SGB's way of reading settings"
        )
    return (HANDLED, f"one {some(per_dataset)} per dataset; that of {BY_DATASET} is read") if per_dataset else FINE


def _per_dataset(key: str, known: Collection[str]) -> bool:
    """Whether DATASETS.TRAIN, say, is there as DATASETS.VG_TRAIN."""
    node, _, name = key.rpartition(".")
    return any(other.rpartition(".")[0] == node and other.endswith(f"_{name}") for other in known)


def data_loader(source: Source) -> Result:
    """``make_data_loader`` takes what HML gives it."""
    needed, optional = arguments(source.find(BUILD, "make_data_loader"))
    source.find(BUILD, "build_dataset")
    order = [*needed, *optional]
    if order[:2] != ["cfg", "mode"]:
        return BREAKS, f"make_data_loader({', '.join(order)}) does not begin with cfg, mode; restore that"
    usual = ("cfg", "mode", "is_distributed", "start_iter", "dataset_to_test")
    return further("make_data_loader", order, usual, "passed through")


def statistics(source: Source) -> Result:
    """The predicate statistics are cached under the name that HML hands from stage to stage."""
    function = source.find(BUILD, "get_dataset_statistics")
    texts = " ".join(n.value for n in ast.walk(function) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    if "_statistics" not in texts or ".cache" not in texts:
        return BREAKS, (
            "get_dataset_statistics caches nothing as OUTPUT_DIR/<datasets>_statistics.cache, the file that HML hands "
            "from stage to stage; keep that name"
        )
    return FINE


def vg_dataset(source: Source) -> Result:
    """The dataset class has the attributes that HML edits or reads."""
    present = attributes(source.find(VG, "VGDataset"))
    missing = [f"self.{name}" for name in VG_ATTRIBUTES if name not in present]
    missing += [f"{name}()" for name in VG_METHODS if not source.has_method(VG, "VGDataset", name)]
    if missing:
        return BREAKS, f"VGDataset has no {', '.join(missing)}, which HML edits or reads; keep SGB's names"
    _, optional = arguments(source.find(VG, "VGDataset", "__init__"))
    return further("its constructor", optional, _VG_ARGUMENTS, "HML never constructs it")


def model_output(source: Source) -> Result:
    """The model gives its losses in a form to which CR's term can be added."""
    targets = assigned(source.find(SCRIPT, "train"), "model")
    if not targets:
        return BREAKS, "train() never does `loss_dict = model(...)`; HML adds its loss to that dict"
    items = max(len(t.elts) if isinstance(t, ast.Tuple) else 1 for t in targets)
    return (HANDLED, f"a tuple of {items}; its first item is the dict") if items > 1 else FINE


def gradient_clipping(source: Source) -> Result:
    """``clip_grad_norm`` can be wrapped: there F, Omega and MR take their gradient."""
    if not calls(source.find(SCRIPT, "train"), "clip_grad_norm"):
        return BREAKS, (
            "train() never calls clip_grad_norm, where HML reads the gradients; call it before optimizer.step()"
        )
    needed, _ = arguments(source.find(CHECKPOINT, "clip_grad_norm"))
    if needed[:1] != ["named_parameters"]:
        return BREAKS, "clip_grad_norm's first argument is not named_parameters; keep SGB's signature"
    return FINE


def loop(source: Source) -> Result:
    """The training loop calls the hook points in the order that HML needs."""
    train = source.find(SCRIPT, "train")
    loops = [n for n in ast.walk(train) if isinstance(n, ast.For) and calls(n, "step") and calls(n, "backward")]
    if not loops:
        return BREAKS, "train() holds no loop with backward() and step(); HML works within SGB's own loop"
    if not any(len(call.args) > 1 or call.keywords for call in calls(train, "enumerate")):
        return BREAKS, "the loop does not enumerate(loader, start_iter), by which a resumed stage finds its place"
    steps = [call for call in calls(loops[0], "step") if "optimizer" in ast.unparse(call.func)]
    order = [*calls(loops[0], "backward")[:1], *calls(loops[0], "clip_grad_norm")[:1], *steps[:1]]
    lines = [call.lineno for call in order]
    if len(lines) < 3 or lines != sorted(lines):
        return BREAKS, "the loop does not go backward, clip_grad_norm, optimizer.step; F and Omega need that order"
    if not calls(loops[0], "scale_loss"):
        return HANDLED, "no amp.scale_loss: it trains in the model's own precision"
    return FINE


def checkpointer(source: Source) -> Result:
    """The checkpointer's methods can be extended by the resume file."""
    save = source.method(CHECKPOINT, "DetectronCheckpointer", "save")
    for method in ("load", "has_checkpoint", "get_checkpoint_file", "tag_last_checkpoint"):
        source.method(CHECKPOINT, "DetectronCheckpointer", method)
    if save.args.kwarg is None:
        return BREAKS, "save() takes no further values, so the iteration is not stored; let it take **kwargs"
    every = [n for n in ast.walk(source.tree(CHECKPOINT)) if isinstance(n, ast.FunctionDef) and n.name == "save"]
    tagged = [call.args[0] for n in every for call in calls(n, "tag_last_checkpoint") if call.args]
    if not tagged:
        return BREAKS, "save() never calls self.tag_last_checkpoint, so nothing can be resumed"
    if any(isinstance(node, ast.Name) and node.id == "name" for argument in tagged for node in ast.walk(argument)):
        return HANDLED, "last_checkpoint names the file without its folder"
    return FINE


#: The hook points, in the order in which a run meets them.
CHECKS: tuple[tuple[str, Callable[[Source], Result]], ...] = (
    ("script: train(cfg, ...), main()", script_functions),
    ("script: names that HML replaces", script_names),
    ("script: settings", settings),
    ("data: make_data_loader", data_loader),
    ("data: statistics cache", statistics),
    ("data: VGDataset", vg_dataset),
    ("model: relation head", head_checks.relation_head),
    ("model: samplers", head_checks.samplers),
    ("model: union features", head_checks.union_features),
    ("model: predictor's arguments", head_checks.predictor_arguments),
    ("model: predictor's output", head_checks.predictor_output),
    ("model: choice of predictor", head_checks.predictor_choice),
    ("model: loss evaluator", head_checks.loss_evaluator),
    ("loop: model(images, targets)", model_output),
    ("loop: clip_grad_norm", gradient_clipping),
    ("loop: backward, clip, step", loop),
    ("checkpoints", checkpointer),
)


def check_hook_points(source: Source, own_loop: bool = False) -> Iterator[Finding]:
    """The finding of every hook point. What a check looks for and does not find is that hook point's ``breaks``.

    Args:
        own_loop: the script gives its parts to the bundled benchmark's loop, so its ``train`` has none to read.
    """
    for name, check in CHECKS:
        if own_loop and name.startswith("loop: "):
            continue
        try:
            state, text = check(source)
        except Absent as error:
            state, text = BREAKS, f"{error}; HML needs it as in SGB"
        yield Finding(name, state, text)
