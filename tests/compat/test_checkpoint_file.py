"""Checkpoints of other trainers are read with a line on what was taken off, or refused by their own name."""

from __future__ import annotations

import argparse
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from maskrcnn_benchmark_hml.compat.checkpoint_file import read_checkpoint, weight_names
from maskrcnn_benchmark_hml.errors import HMLError

WEIGHTS = {"backbone.w": torch.ones(2), "roi_heads.relation.p": torch.arange(3.0)}
AROUND = {
    "flat": (WEIGHTS, ()),
    "model": ({"model": WEIGHTS, "iteration": 3}, ()),
    "DataParallel": ({"model": {"module." + n: v for n, v in WEIGHTS.items()}}, ("module. is removed from 2",)),
    "compiled": ({"model": {"_orig_mod." + n: v for n, v in WEIGHTS.items()}}, ("_orig_mod. is removed from 2",)),
    "compiled, nested": (
        {"model": {"module._orig_mod.module." + n: v for n, v in WEIGHTS.items()}}, ("module. is", "_orig_mod. is")),
    "a compiled part": ({"backbone._orig_mod.w": WEIGHTS["backbone.w"],
                         "roi_heads.relation._orig_mod.p": WEIGHTS["roi_heads.relation.p"]}, ("_orig_mod. is",)),
    "Lightning": (
        {"state_dict": {**{"model." + n: v for n, v in WEIGHTS.items()}, "loss.w": torch.ones(1)}, "epoch": 2},
        ("under state_dict", "model. is removed from 2 names, 1 others are not used")),
    "EMA alone": ({"model_ema": {"module." + n: v for n, v in WEIGHTS.items()}, "epoch": 2},
                  ("under model_ema", "module. is")),
    "EMA beside the model": ({"model_ema": {n: 0 * v for n, v in WEIGHTS.items()}, "model": WEIGHTS}, ()),
    "AveragedModel": ({"n_averaged": torch.tensor(4), **{"module." + n: v for n, v in WEIGHTS.items()}}, ("module.",)),
    "a model in a model": ({"model": {"state_dict": WEIGHTS}}, ("under model/state_dict",)),
}


@pytest.mark.parametrize("name", AROUND)
def test_what_is_around_the_weights_is_taken_off_and_said(tmp_path, name):
    content, said = AROUND[name]
    torch.save(content, tmp_path / "c.pth")
    got, notes = read_checkpoint(tmp_path / "c.pth")
    assert {n: v.tolist() for n, v in got["model"].items()} == {n: v.tolist() for n, v in WEIGHTS.items()}
    assert len(notes) == len(said) and all(part in note for part, note in zip(said, notes)), notes
    assert sorted(weight_names(tmp_path / "c.pth")) == sorted(WEIGHTS)


def test_numpy_scalars_beside_the_weights(tmp_path):
    extra = {"best": np.float64(0.5), "iteration": np.int64(7), "small": np.float32(2), "flag": np.bool_(True)}
    torch.save({"model": WEIGHTS, **extra}, tmp_path / "c.pth")
    got, _ = read_checkpoint(tmp_path / "c.pth")
    assert {k: got[k] for k in extra} == {"best": 0.5, "iteration": 7, "small": 2.0, "flag": True}
    assert type(got["iteration"]) is int


def test_the_format_before_torch_1_6(tmp_path):
    torch.save({"model": WEIGHTS}, tmp_path / "c.pth", _use_new_zipfile_serialization=False)
    assert sorted(weight_names(tmp_path / "c.pth")) == sorted(WEIGHTS)


def _cut(path):
    torch.save({"model": {"backbone.w": torch.ones(5000)}}, path)
    path.write_bytes(path.read_bytes()[:9000])


def _zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("README.txt", "x" * 100)


BAD = {
    "an HTML page": (lambda p: p.write_text("<!DOCTYPE html><html><body>Sign in</body></html>"), "is an HTML page"),
    "detectron2": (lambda p: p.write_bytes(pickle.dumps({"model": {"w": np.ones(2)}, "__author__": "x"})),
                   "is a plain pickle file .as detectron2"),
    "safetensors": (lambda p: p.write_bytes((64).to_bytes(8, "little") + b'{"a":{"dtype":"F32"}}'.ljust(64) + b"0" * 9),
                    "is a safetensors file.*safetensors.torch"),
    "another zip": (_zip, r"is a zip archive \(in it: README.txt\), not a torch file; unpack it"),
    "an argparse object": (lambda p: torch.save({"model": WEIGHTS, "args": argparse.Namespace(a=1)}, p),
                           "names argparse.Namespace, which is not loaded.*HML_TRUSTED_FILES=.*c.pth$"),
    "cut short": (_cut, "is cut short"),
    "empty": (lambda p: p.write_bytes(b""), "is empty"),
    "a list": (lambda p: torch.save([1], p), "holds a list"),
    "no weights": (lambda p: torch.save({"epoch": 1, "lr": 2.0}, p), "holds no weights .epoch, lr"),
}


@pytest.mark.parametrize("name", BAD)
def test_other_files_are_named(tmp_path, name):
    make, match = BAD[name]
    make(tmp_path / "c.pth")
    for read in (read_checkpoint, weight_names):
        with pytest.raises(HMLError, match=match) as caught:
            read(tmp_path / "c.pth")
        assert "\n" not in str(caught.value)
        whole = name not in ("cut short", "empty")
        assert not (whole and any(word in str(caught.value) for word in ("damaged", "cut short", "it again")))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read every file")
def test_no_permission(tmp_path):
    torch.save({"model": WEIGHTS}, tmp_path / "c.pth")
    (tmp_path / "c.pth").chmod(0)
    with pytest.raises(HMLError, match="no permission"):
        read_checkpoint(tmp_path / "c.pth")


def test_an_error_of_the_system_is_no_damage(tmp_path, monkeypatch):
    """As for a file without permission, also where the tests run as root."""
    torch.save({"model": WEIGHTS}, tmp_path / "c.pth")

    def load(*args, **kwargs):
        raise PermissionError(13, "Permission denied", str(tmp_path / "c.pth"))

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(HMLError, match="no permission"):
        read_checkpoint(tmp_path / "c.pth")
