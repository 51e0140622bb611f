"""The files of the table of usage mistakes: each is wrong in one way, which its name says."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from maskrcnn_benchmark_hml.resources import config_file

H5, DICTS, IMAGES = "VG-SGG-with-attri.h5", "VG-SGG-dicts-with-attri.json", "image_data.json"

#: Name -> what is put behind the config that runs.
APPENDED = {
    "hml3.yaml": "HML: 3", "hmllist.yaml": "HML: [1]", "key.yaml": "SOLVRE:\n  X: 1",
    "hmlkey.yaml": "HML: {CR: {WIEGHT: 1}}", "hmlval.yaml": "HML: {CR: {WEIGHT: -5}}",
    "actions.yaml": "HML: {TREE: {ACTIONS: [on, playing]}}", "octal.yaml": "HML: {TREE: {FILE: 010}}",
    "twice.yaml": "SOLVER: {BASE_LR: 0.1}", "yes.yaml": "yes: 3", "number.yaml": "3: 3", "nothing.yaml": "~: 3",
    "null.yaml": "HML: {CR: {WEIGHT: }}", "tab.yaml": "HML:\n\tENABLED: True", "alias.yaml": "HML: {TREE: {FILE: *x}}",
    "two.yaml": "---\nHML: {}", "tag.yaml": "HML: !!python/object/apply:os.system ['touch ran']",
    "date.yaml": "HML: {TREE: {FILE: 2020-01-01}}", "baddate.yaml": "HML: {TREE: {FILE: 2020-99-01}}",
    "dotted.yaml": "HML.CR.WEIGHT: 1", "below.yaml": "OUTPUT_DIR: {X: 1}", "loop.yaml": "HML: &a {CR: *a}",
    "listkey.yaml": "[1, 2]: 3",
}
#: Name -> (text of the config that runs, what stands in its place).
REPLACED = {
    "solver3.yaml": ("SOLVER:\n", "SOLVER: 3\nX:\n"), "hostnull.yaml": ("  MAX_ITER: 600\n", "  MAX_ITER:\n"),
    "hostint.yaml": ("BASE_LR: 0.015 ", "BASE_LR: 1 "), "predon.yaml": ("PREDICTOR: MotifPredictor", "PREDICTOR: on"),
}
TEXTS = {
    "broken.yaml": "SOLVER:\n  A: [1\nB: 2\n", "list.yaml": "- a\n- b\n", "a.json": "{}", "conf.py": "x = 1\n",
    "confbad.py": "x = \n", "afile": "hello", "notes.txt": "hello", "script.py": "print('hi'\n", "nomain.py": "x = 1\n",
    "failing.py": "import no_such_module\n", "set1/hml/settings.json": "[]", "set2/hml/settings.json": "{",
    "set3/hml/settings.json": "3", "set5/hml": "a file", "set6/hml/settings.json": '{"a": 1}',
    "t-list.json": "[]", "t-bad.json": "{", "ov-list.json": "[]", "ov-num.json": '{"on": 3}',
    "ov-unknown.json": '{"onn": "on"}', "ov-keys.json": '{"on": {"lair": 2}}', "c-list.json": "[]",
    "c-float.json": '{"predicates": ["a"], "counts": {"a": 1.5}}',
    "c-less.json": '{"predicates": ["a", "b"], "counts": {"a": 3}}',
    "c-twice.json": '{"predicates": ["a", "a"], "counts": {"a": 3}}', "c-none.json": '{"predicates": [], "counts": {}}',
    "few.vec": "2 3\non 1 0 0\nin 0 1 0\n", "bad.vec": "hello\n", "r-bad/metrics.json": "{",
    "r-list/metrics.json": "[]",
    "r-text/metrics.json": '{"mode": "predcls", "R@20": "x"}', "r-mode/metrics.json": '{"mode": 3}',
    "r-each/metrics.json": '{"mode": "predcls", "per_predicate": [1]}', "r-sgb/result_dict.pytorch": "hello",
}
GRID = "title: t\niterations: 10\nvariants:\n  - {name: a, set: {HML.ENABLED: true}}\n"
SET = "HML.ENABLED: true"
GRIDS = {
    "g-ok": GRID, "g-list": "- a\n", "g-broken": "a: [\n", "g-empty": "", "g-twice": GRID + "iterations: 20\n",
    "g-yes": "axes:\n  - yes: {set: {HML.CR.WEIGHT: 1}}\n", "g-key": GRID + "seedz: 2\n",
    "g-float": GRID.replace("10", "1e1"), "g-name": GRID.replace("name: a", "name: on"),
    "g-set": GRID.replace(SET, "HML.ENABLED: maybe"), "g-host": GRID.replace(SET, "SOLVER.BASE_LRR: 1"),
    "g-type": GRID.replace(SET, "SOLVER.BASE_LR: fast"), "g-null": GRID.replace(SET, "SOLVER.BASE_LR: "),
    "g-actions": GRID.replace(SET, "HML.TREE.ACTIONS: [on]"), "g-nested": GRID.replace(SET, "HML: {CR: 1}"),
    "g-include": GRID + "include: [nosuch]\n", "g-self": GRID + "include: [g-self.yaml]\n",
    "g-predictors": GRID + "predictors: 3\n", "g-axes": "axes: {a: 1}\n", "g-axis": "axes:\n  - a: {set: 3}\n",
    "g-merged": GRID + "merged: maybe\n", "g-after": GRID + "  - {name: b, after: zz, taus: [1]}\n",
}
_TREES: dict[str, Callable[[dict], Any]] = {
    "t-script": lambda c: c["layers"].__setitem__("\u0662", c["layers"].pop("2")),
    "t-square": lambda c: c["layers"].__setitem__("\u00b2", c["layers"].pop("2")),
    "t-nolayer": lambda c: c.pop("layers"), "t-count": lambda c: c["counts"].__setitem__("on", "many"),
    "t-gap": lambda c: c["layers"].__setitem__("3", c["layers"].pop("2")),
    "t-names": lambda c: c["layers"]["1"].append(["on"]), "t-version": lambda c: c.__setitem__("version", 9),
}


def _array(name: str, edit: Callable[[np.ndarray], np.ndarray | None]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with h5py.File(folder / H5, "r+") as file:
            content = edit(file[name][()])
            del file[name]
            if content is not None:
                file[name] = content

    return change


def _put(at: Any, value: Any) -> Callable[[np.ndarray], np.ndarray]:
    def edit(array: np.ndarray) -> np.ndarray:
        array[at] = value
        return array

    return edit


def _json(name: str, edit: Callable[[Any], Any]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(edit(content) or content))

    return change


_OUTSIDE = [5000, 5000, 10, 10]
#: Dataset folder -> what is done to a good one.
DATA: dict[str, Callable[[Path], Any]] = {
    "d-labels": _array("labels", lambda a: a[:, 0]),
    "d-box5": _array("boxes_1024", lambda a: np.concatenate([a, a[:, :1]], 1)),
    "d-float": _array("predicates", lambda a: a.astype(float)),
    "d-nan": _array("boxes_1024", lambda a: _put(0, np.nan)(a.astype(float))),
    "d-outside": _array("boxes_1024", lambda a: a * 0 + np.array(_OUTSIDE)),
    "d-flat": _array("boxes_1024", _put(0, [10, 10, 0, 5])), "d-label": _array("labels", _put(0, 999)),
    "d-pred0": _array("predicates", _put(0, 0)), "d-relation": _array("relationships", _put(0, 99999)),
    "d-nosplit": _array("split", lambda a: None), "d-split7": _array("split", _put(0, 7)),
    "d-rows": _array("img_to_first_box", _put(0, 10**6)), "d-emptyh5": lambda folder: (folder / H5).write_text(""),
    "d-idxtext": _json(DICTS, lambda c: c["predicate_to_idx"].__setitem__("on", "1x")),
    "d-idxnull": _json(DICTS, lambda c: c["predicate_to_idx"].__setitem__("on", None)),
    "d-idxgap": _json(DICTS, lambda c: c["label_to_idx"].__setitem__("man", 777)),
    "d-dicts": _json(DICTS, lambda c: [1]),
    "d-nowidth": _json(IMAGES, lambda c: c[0].pop("width") and None),
    "d-noid": _json(IMAGES, lambda c: c[0].pop("image_id") and None),
    "d-width0": _json(IMAGES, lambda c: c[0].__setitem__("width", 0)),
    "d-images": _json(IMAGES, lambda c: {"images": c}), "d-entry": _json(IMAGES, lambda c: c.__setitem__(0, 5)),
    "d-short": _json(IMAGES, lambda c: c[:-1]), "d-nodicts": lambda folder: (folder / DICTS).unlink(),
    "d-nophotos": lambda folder: (folder / "VG_100K").unlink(),
}


def write_files(folder: Path, vg: Path, body: str = "HML-TINY-FPN") -> None:
    """Everything that the table names.

    Args:
        vg: a good dataset folder, which stands there as ``vg``. body: the backbone of the configs.
    """
    base = config_file("demo/relation.yaml").read_text().replace("HML-TINY-FPN", body)
    texts = {**TEXTS, "demo.yaml": base, **{f"{name}.yaml": text for name, text in GRIDS.items()}}
    texts.update({name: f"{base}\n{text}\n" for name, text in APPENDED.items()})
    texts.update({name: base.replace(*pair) for name, pair in REPLACED.items()})
    assert all(texts[name] != base for name in REPLACED)
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / "utf16.yaml").write_text(base, encoding="utf-16")
    (folder / "g-utf16.yaml").write_text(GRID, encoding="utf-16")
    (folder / "bytes.py").write_bytes(b"\x00\xff\xfe")
    for name in ("emptydir", "logdir/log.txt", "confdir/config.yml", "set4/hml/settings.json",
                 "lastdir/last_checkpoint"):  # fmt: skip
        (folder / name).mkdir(parents=True)
    tree = json.loads(config_file("trees/vg150_clustered.json").read_text())
    for name, edit in _TREES.items():
        copy = json.loads(json.dumps(tree))
        edit(copy)
        (folder / f"{name}.json").write_text(json.dumps(copy))
    os.symlink(vg.resolve(), folder / "vg")
    for name, change in DATA.items():
        (folder / name).mkdir()
        for file in (H5, DICTS, IMAGES):
            shutil.copy(vg / file, folder / name)
        os.symlink((vg / "VG_100K").resolve(), folder / name / "VG_100K")
        change(folder / name)
    _write_weights(folder)


def _write_weights(folder: Path) -> None:
    torch.save([1, 2], folder / "list.pth")
    torch.save({"model": {"a": 1}}, folder / "noweights.pth")
    (folder / "half.pth").write_bytes((folder / "list.pth").read_bytes()[:300])
    (folder / "pickle.pth").write_bytes(pickle.dumps({"a": 1}))
    for name, state in {"res-list": [1], "res-other": {"iteration": 1}}.items():
        stage = folder / name / "hml" / "stage1"
        stage.mkdir(parents=True)
        torch.save({"model": {"w": torch.ones(3)}, "iteration": 3}, stage / "model_0000003.pth")
        torch.save(state, stage / "model_0000003.hml.pt")
        (stage / "last_checkpoint").write_text(str(stage / "model_0000003.pth"))
    (folder / "mem" / "hml" / "stage1").mkdir(parents=True)
    torch.save([1], folder / "mem" / "hml" / "stage1" / "memory.pt")
