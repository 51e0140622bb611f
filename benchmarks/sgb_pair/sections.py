"""What ``vs_sgb.py`` measures, section by section: the sizes, the bars and the rows of the table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from sgb_pair.data import write_annotations, write_pictures
from sgb_pair.pair import OURS, SGB, Machine, compare

CONFIG = "configs/e2e_relation_X_101_32_8_FPN_1x.yaml"
HEAD = "MODEL.ROI_RELATION_HEAD."
PREDICTORS = {"MOTIFS": "MotifPredictor", "Transformer": "TransformerPredictor", "VCTree": "VCTreePredictor"}
OBJECTS, SIDE, BATCH = 12, 160, 2
STEP_BARS = {"MOTIFS": 1.2, "Transformer": 1.2, "VCTree": 1.6}
SLIM_BAR, FORWARD_BAR, CONSTRUCTION_BAR = 3.0, 1.5, 20.0
CONTEXT_BARS = {12: 5.0, 80: 10.0}
METRIC_BARS = {"predcls": 15.0, "sgdet": 10.0}
STATISTICS_BAR, FILTERED_BAR, PLAIN_BAR = 15.0, 15.0, 4.0

BASE = {
    "MODEL.DEVICE": "cpu", "GLOVE_DIR": "", "MODEL.WEIGHT": "", "MODEL.PRETRAINED_DETECTOR_CKPT": "",
    "DATALOADER.NUM_WORKERS": 0,
    "SOLVER.TO_VAL": False, "SOLVER.PRE_VAL": False, "SOLVER.CHECKPOINT_PERIOD": 100000, "SOLVER.MAX_ITER": 100000,
    "SOLVER.PRINT_GRAD_FREQ": 100000, "SOLVER.IMS_PER_BATCH": BATCH, "TEST.IMS_PER_BATCH": 1,
    "INPUT.MIN_SIZE_TRAIN": (SIDE,), "INPUT.MIN_SIZE_TEST": SIDE,
    "INPUT.PIXEL_STD": [1000.0, 1000.0, 1000.0],  # an untrained backbone scales its input up
}  # fmt: skip
GIVEN = {HEAD + "USE_GT_BOX": True, HEAD + "USE_GT_OBJECT_LABEL": True}
#: Sizes of the package's own demonstration.
SLIM = {
    "MODEL.RESNETS.NUM_GROUPS": 1, "MODEL.RESNETS.BACKBONE_OUT_CHANNELS": 32, "MODEL.RPN.RPN_MID_CHANNEL": 32,
    "MODEL.ROI_BOX_HEAD.POOLER_SCALES": (0.25, 0.125), "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM": 256,
    HEAD + "EMBED_DIM": 50, HEAD + "CONTEXT_HIDDEN_DIM": 128, HEAD + "CONTEXT_POOLING_DIM": 256,
    HEAD + "BATCH_SIZE_PER_IMAGE": 64, "SOLVER.IMS_PER_BATCH": 8, "INPUT.MIN_SIZE_TRAIN": (128,),
    "INPUT.MIN_SIZE_TEST": 128, "SOLVER.BASE_LR": 0.0001,
}  # fmt: skip
OWN_SLIM = {"MODEL.BACKBONE.CONV_BODY": "HML-TINY-FPN"}
#: Scene-Graph-Benchmark has no smaller backbone than a thin ResNet-50.
SGB_SLIM = {
    "MODEL.BACKBONE.CONV_BODY": "R-50-FPN", "MODEL.RESNETS.RES2_OUT_CHANNELS": 32,
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 16, "MODEL.RESNETS.WIDTH_PER_GROUP": 8,
}  # fmt: skip
SGDET = {
    HEAD + "USE_GT_BOX": False, HEAD + "USE_GT_OBJECT_LABEL": False, "MODEL.ROI_HEADS.DETECTIONS_PER_IMG": 20,
    "MODEL.RPN.FPN_POST_NMS_TOP_N_TRAIN": 100, HEAD + "BATCH_SIZE_PER_IMAGE": 128, "SOLVER.BASE_LR": 0.0001,
}  # fmt: skip

Rows = Iterator[dict[str, Any]]


def words(*options: dict[str, Any]) -> list[str]:
    """KEY VALUE ... of a command line; later options win."""
    merged = {key: value for part in options for key, value in part.items()}
    return [str(word) for option in merged.items() for word in option]


def row(what: str, result: dict[str, Any], bar: float | None = None, unit: str = "s") -> dict[str, Any]:
    return {"what": what, "sgb": result["sgb_s"], "ours": result["ours_s"], "unit": unit, "ratio": result["ratio"],
            "bar": bar, "spread": result.get("spread")}  # fmt: skip


def memory(what: str, result: dict[str, Any]) -> dict[str, Any]:
    """Row of the peak memory of both processes."""
    sgb, ours = result[SGB]["peak_mb"], result[OURS]["peak_mb"]
    return row(what, {"sgb_s": sgb, "ours_s": ours, "ratio": sgb / ours}, 1.0, "MB")


@cache
def pictures(folder: Path, **sizes: int) -> str:
    name = "pictures" + "_".join(str(size) for size in sizes.values())
    return str(write_pictures(folder / name, **sizes))


def few(machine: Machine, objects: int = OBJECTS, predicates: int = 50) -> str:
    return pictures(machine.folder, train=24, validation=10, test=10, objects=objects, predicates=predicates)


def of_step(machine: Machine, data: str, *options: dict[str, Any], rounds: int, **more: Any) -> dict[str, Any]:
    """A training step of both sides; ``own`` and ``theirs``: options of one side."""
    own, theirs = more.pop("own", {}), more.pop("theirs", {})
    (machine.folder / "out").mkdir(exist_ok=True)
    given = []
    for name, part in ((OURS, own), (SGB, theirs)):
        output = {"OUTPUT_DIR": str(machine.folder / "out" / f"{name}{len(list((machine.folder / 'out').iterdir()))}")}
        Path(output["OUTPUT_DIR"]).mkdir()
        given.append({"words": words(BASE, *options, part, output)})
    common = {"data": data, "config": str(Path(machine.sgb) / CONFIG), **more}
    return compare(machine, "train_step", common, rounds=rounds, warm_up=2, own=given[0], theirs=given[1])


def step(machine: Machine, facts: dict[str, Any]) -> Rows:
    for name, predictor in PREDICTORS.items():
        options = {**GIVEN, HEAD + "PREDICTOR": predictor}
        result = of_step(machine, few(machine), options, rounds=2 if machine.quick else 5)
        yield row(f"{name} PredCls step, full width", result, STEP_BARS[name])
        yield memory(f"{name} PredCls step, full width, peak memory", result)


def slim(machine: Machine, facts: dict[str, Any]) -> Rows:
    for name, predictor in PREDICTORS.items():
        options = ({**GIVEN, HEAD + "PREDICTOR": predictor}, SLIM)
        rounds = 5 if machine.quick else 15
        result = of_step(machine, few(machine), *options, rounds=rounds, own=OWN_SLIM, theirs=SGB_SLIM)
        yield row(f"{name} PredCls step, slim backbone", result, SLIM_BAR)
        yield memory(f"{name} PredCls step, slim backbone, peak memory", result)


def sgdet(machine: Machine, facts: dict[str, Any]) -> Rows:
    options = {**SGDET, HEAD + "PREDICTOR": "MotifPredictor"}
    result = of_step(machine, few(machine), options, rounds=2 if machine.quick else 4, detector=True)
    yield row("MOTIFS SGDet step, full width", result)
    yield memory("MOTIFS SGDet step, full width, peak memory", result)


def of_model(machine: Machine, job: str, data: str, *options: dict[str, Any], rounds: int, **more: Any) -> dict:
    own, theirs = more.pop("own", {}), more.pop("theirs", {})
    outputs = [{"OUTPUT_DIR": str(machine.folder / name)} for name in (OURS, SGB)]
    for output in outputs:
        Path(output["OUTPUT_DIR"]).mkdir(exist_ok=True)
    sides = [{"words": words(BASE, *options, part, output)} for part, output in zip((own, theirs), outputs)]
    common = {"data": data, "config": str(Path(machine.sgb) / CONFIG), **more}
    return compare(machine, job, common, rounds=rounds, own=sides[0], theirs=sides[1])


def forward(machine: Machine, facts: dict[str, Any]) -> Rows:
    data = pictures(machine.folder, train=2, validation=2, test=4, objects=OBJECTS)
    for name, predictor in PREDICTORS.items():
        options = {**GIVEN, HEAD + "PREDICTOR": predictor}
        result = of_model(machine, "forward", data, options, rounds=3 if machine.quick else 7, profile=True)
        for side in (SGB, OURS):
            facts[f"forward {name} {side}"] = {k: float(f"{v:.3g}") for k, v in result[side].items()}
        yield row(f"{name} PredCls test forward of an image, full width", result, FORWARD_BAR)


def validation(machine: Machine, facts: dict[str, Any]) -> Rows:
    options = ({**GIVEN, HEAD + "PREDICTOR": "MotifPredictor"}, SLIM)
    data = pictures(machine.folder, train=2, validation=50, test=2, objects=OBJECTS)
    result = of_model(
        machine, "validation", data, *options, rounds=2 if machine.quick else 5, own=OWN_SLIM, theirs=SGB_SLIM
    )
    yield row("MOTIFS PredCls validation of an image, slim backbone", result)


def context(machine: Machine, facts: dict[str, Any]) -> Rows:
    for objects, bar in CONTEXT_BARS.items():
        for images in (1, 4):
            options = {"config": str(Path(machine.sgb) / CONFIG), "words": words(GIVEN, {"GLOVE_DIR": ""}),
                       "objects": objects, "images": images}  # fmt: skip
            result = compare(machine, "context", options, rounds=3 if machine.quick else 9, warm_up=2)
            same = math.isclose(result[SGB]["mean"], result[OURS]["mean"], rel_tol=1e-2, abs_tol=1e-5)
            facts[f"context {objects} {images} equal"] = same
            yield row(f"VCTree context encoder, {images} x {objects} objects", result, bar)


def trees(machine: Machine, facts: dict[str, Any]) -> Rows:
    for objects in CONTEXT_BARS:
        for images in (1, 4):
            options = {"objects": objects, "images": images}
            result = compare(machine, "trees", options, rounds=15, warm_up=3)
            yield row(f"VCTree trees from scores, {images} x {objects} objects", result)


def construction(machine: Machine, facts: dict[str, Any]) -> Rows:
    options = {"config": str(Path(machine.sgb) / CONFIG), "words": words(GIVEN, {"GLOVE_DIR": ""})}
    if machine.quick:  # a quarter of the width
        narrow = {"MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM": 1024, HEAD + "CONTEXT_HIDDEN_DIM": 128}
        options["words"] = words(GIVEN, {"GLOVE_DIR": ""}, narrow)
    result = compare(machine, "construction", options, rounds=1, warm_up=0)
    yield row("VCTree construction" + (", quarter width" if machine.quick else ""), result, CONSTRUCTION_BAR)


def metrics(machine: Machine, facts: dict[str, Any]) -> Rows:
    for task, bar, objects in (("predcls", METRIC_BARS["predcls"], OBJECTS), ("sgdet", METRIC_BARS["sgdet"], 80)):
        images = 40 if machine.quick else 200 if task == "predcls" else 80
        data = pictures(machine.folder, train=2, validation=2, test=images, objects=OBJECTS)
        for types, own_bar in ((["relations"], bar), (["bbox", "relations"], None)):
            options = {"data": data, "task": task, "objects": objects, "predicates": 50, "types": types}
            result = compare(machine, "metrics", options, rounds=3)
            facts[f"metrics {task} {len(types)} equal"] = math.isclose(
                result[SGB]["result"], result[OURS]["result"], abs_tol=1e-6
            )
            what = "relations" if len(types) == 1 else "boxes and relations"
            yield row(f"metrics of an image, {task}, {objects} objects, {what}", result, own_bar)


def annotations(machine: Machine, facts: dict[str, Any]) -> Rows:
    folder, train, held = write_annotations(machine.folder / "annotations", 0.1 if machine.quick else 1.0)
    data = {"data": str(folder), "validation": held}
    for overlap, bar, what in ((True, FILTERED_BAR, "with"), (False, PLAIN_BAR, "without")):
        result = compare(machine, "load", {**data, "overlap": overlap}, rounds=2 if overlap else 5)
        facts[f"load {what} equal"] = result[SGB]["images"] == result[OURS]["images"]
        yield row(f"loading {train} images {what} the overlap filter", result, bar)
        if not overlap:
            yield memory("loading, peak memory", result)
    yield row("statistics", compare(machine, "statistics", data, rounds=1, warm_up=0), STATISTICS_BAR)
    yield row("the whole training dataset, picture list included", compare(machine, "dataset", data, rounds=1))


def growth(machine: Machine, facts: dict[str, Any]) -> Rows:
    rounds = 3 if machine.quick else 5
    motifs = ({**GIVEN, HEAD + "PREDICTOR": "MotifPredictor"}, SLIM, {HEAD + "BATCH_SIZE_PER_IMAGE": 1024})
    sides = {"own": OWN_SLIM, "theirs": SGB_SLIM}
    for images in (2, 8):
        result = of_step(machine, few(machine), *motifs, {"SOLVER.IMS_PER_BATCH": images}, rounds=rounds, **sides)
        yield row(f"MOTIFS step, slim: {images} images of 12 objects, 50 predicates", result)
    for objects in (6, 24):
        result = of_step(machine, few(machine, objects), *motifs, rounds=rounds, **sides)
        yield row(f"MOTIFS step, slim: 8 images of {objects} objects, 50 predicates", result)
    for predicates in (50, 500):
        options = {HEAD + "NUM_CLASSES": predicates + 1}
        result = of_step(machine, few(machine, predicates=predicates), *motifs, options, rounds=rounds, **sides)
        yield row(f"MOTIFS step, slim: 8 images of 12 objects, {predicates} predicates", result)
    for objects in (20, 40, 80):
        data = pictures(machine.folder, train=2, validation=2, test=20, objects=OBJECTS)
        options = {"data": data, "task": "sgdet", "objects": objects, "predicates": 50, "types": ["relations"]}
        yield row(f"metrics: {objects} boxes, 50 predicates", compare(machine, "metrics", options, rounds=rounds))
    for predicates in (200, 500):
        data = few(machine, predicates=predicates)
        options = {"data": data, "task": "sgdet", "objects": 40, "predicates": predicates, "types": ["relations"]}
        yield row(f"metrics: 40 boxes, {predicates} predicates", compare(machine, "metrics", options, rounds=rounds))
    for scale in (0.03, 0.12):
        folder, train, held = write_annotations(machine.folder / f"annotations{scale}", scale)
        options = {"data": str(folder), "validation": held, "overlap": True}
        yield row(f"loading {train} images with the filter", compare(machine, "load", options, rounds=1))
        yield row(f"statistics of {train} images", compare(machine, "statistics", options, rounds=1))


SECTIONS = {
    section.__name__: section
    for section in (step, slim, sgdet, forward, validation, context, trees, construction, metrics, annotations, growth)
}


def explain(facts: dict[str, Any]) -> Iterator[str]:
    """Sentences on what the facts say."""
    for key, value in facts.items():
        if key.startswith("forward"):
            yield (
                f"{key}: {value['dense_share']:.0%} of the time in dense layers at "
                f"{value['dense_gflops']:.0f} Gflop/s, "
                f"{value['convolution_share']:.0%} in convolutions at {value['convolution_gflops']:.0f}; "
                f"one large product runs at {value['machine_gflops']:.0f}"
            )
        elif value is not True:
            yield f"{key}: {value}"
