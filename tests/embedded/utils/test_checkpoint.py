"""Checkpoints: exact names, whole files, complete state, clear errors."""

from __future__ import annotations

import logging
import math
import random

import numpy as np
import pytest
import torch
from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.solver import WarmupReduceLROnPlateau
from maskrcnn_benchmark.utils.checkpoint import DetectronCheckpointer, clip_grad_norm
from maskrcnn_benchmark.utils.model_serialization import load_state_dict
from maskrcnn_benchmark.utils.rng import rng_state, seed_all, set_rng_state

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.files import written_aside

LOG = logging.getLogger("test")
MAPPING = {"roi_heads.relation.box_feature_extractor": "roi_heads.box.feature_extractor"}


def model(width=3):
    net = torch.nn.Module()
    net.roi_heads = torch.nn.Module()
    net.roi_heads.box = torch.nn.Module()
    net.roi_heads.box.feature_extractor = torch.nn.Linear(2, width)
    net.roi_heads.relation = torch.nn.Module()
    net.roi_heads.relation.box_feature_extractor = torch.nn.Linear(2, width)
    net.roi_heads.relation.predictor = torch.nn.Linear(width, 5)
    return net


def parts(net):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    return optimizer, WarmupReduceLROnPlateau(optimizer, 0.5, warmup_iters=4, patience=1, cooldown=0)


def checkpointer(folder, net=None, **kw):
    net = net or model()
    optimizer, scheduler = parts(net)
    return DetectronCheckpointer(cfg, net, optimizer, scheduler, str(folder), True, custom_scheduler=True, **kw)


def step(c, loss=1.0, metric=None, epoch=1):
    c.optimizer.zero_grad()
    sum((p * loss).sum() for p in c.model.parameters()).backward()
    c.optimizer.step()
    c.scheduler.step(metric, epoch=epoch)


def test_everything_comes_back(tmp_path):
    one = checkpointer(tmp_path)
    for t in range(1, 6):
        step(one, metric=-1.0, epoch=t)
    one.save("model_0000005", iteration=5, note={"a": 1})
    two = checkpointer(tmp_path)
    extra = two.load("ignored because the folder has a checkpoint")
    assert extra == {"iteration": 5, "note": {"a": 1}}
    assert two.scheduler.state_dict() == one.scheduler.state_dict()
    assert two.scheduler.stage_count > 0
    for t in (6, 7):
        step(one, epoch=t)
        step(two, epoch=t)
    for (name, a), b in zip(one.model.state_dict().items(), two.model.state_dict().values()):
        assert torch.equal(a, b), name


def test_only_the_saving_process_writes(tmp_path):
    c = DetectronCheckpointer(cfg, model(), save_dir=str(tmp_path), save_to_disk=False)
    c.save("model_final")
    assert not list(tmp_path.iterdir())
    assert DetectronCheckpointer(cfg, model(), save_dir="").load() == {}


def test_moved_folder_and_relative_entries(tmp_path):
    old = tmp_path / "old"
    old.mkdir()
    checkpointer(old).save("model_0000001", iteration=1)
    new = tmp_path / "new"
    old.rename(new)
    assert checkpointer(new).load()["iteration"] == 1
    (new / "last_checkpoint").write_text("model_0000001.pth\n")
    assert checkpointer(new).load()["iteration"] == 1


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.99])
def test_cut_file_is_named_with_another_to_use(tmp_path, keep):
    c = checkpointer(tmp_path)
    c.save("model_0000001", iteration=1)
    c.save("model_0000002", iteration=2)
    path = tmp_path / "model_0000002.pth"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(HMLError, match=r"model_0000002.pth.*model_0000001.pth"):
        checkpointer(tmp_path).load()
    (tmp_path / "last_checkpoint").write_text("model_0000001.pth")
    assert checkpointer(tmp_path).load()["iteration"] == 1


def test_flipped_bytes_are_named_with_another_to_use(tmp_path):
    c = checkpointer(tmp_path)
    for i in (1, 2):
        c.save(f"model_000000{i}", iteration=i, rest=torch.zeros(4000))
    path = tmp_path / "model_0000002.pth"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(HMLError, match=r"model_0000002.pth is damaged \(.*data/\d+\).*use model_0000001.pth"):
        checkpointer(tmp_path).load()


def test_entry_of_a_missing_file(tmp_path):
    (tmp_path / "last_checkpoint").write_text("model_0000009.pth")
    with pytest.raises(HMLError, match="model_0000009.pth"):
        checkpointer(tmp_path).load()
    with pytest.raises(HMLError, match="nowhere.pth"):
        DetectronCheckpointer(cfg, model()).load("nowhere.pth")
    with pytest.raises(HMLError, match="download"):
        DetectronCheckpointer(cfg, model()).load("https://example.org/m.pth")


def test_interrupted_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), written_aside(path) as aside:
        aside.write_text("ne")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_pickled_objects_are_refused(tmp_path):
    torch.save({"model": random.Random(0)}, tmp_path / "m.pth")
    with pytest.raises(HMLError, match="m.pth names random.Random, which is not loaded"):
        DetectronCheckpointer(cfg, model()).load(str(tmp_path / "m.pth"))


def test_detector_initialises_the_extractor(tmp_path):
    detector = {n: v for n, v in model().state_dict().items() if "relation" not in n}
    torch.save({"model": {f"module.{n}": v for n, v in detector.items()}}, tmp_path / "d.pth")
    net = model()
    head = net.roi_heads.relation.predictor.weight.clone()
    DetectronCheckpointer(cfg, net).load(str(tmp_path / "d.pth"), with_optim=False, load_mapping=MAPPING)
    box, copy = net.roi_heads.box.feature_extractor, net.roi_heads.relation.box_feature_extractor
    assert torch.equal(box.weight, detector["roi_heads.box.feature_extractor.weight"])
    assert torch.equal(box.weight, copy.weight)
    assert torch.equal(net.roi_heads.relation.predictor.weight, head)


def test_a_mapping_falls_back_to_the_models_own_name(tmp_path):
    """A relation model without the box head (PredCls) as the detector: no extractor stays random."""
    given = {n: v for n, v in model().state_dict().items() if "roi_heads.box." not in n}
    net = model()
    load_state_dict(net, given, MAPPING, ["roi_heads.relation"], partial=True)
    name = "roi_heads.relation.box_feature_extractor.weight"
    assert torch.equal(net.state_dict()[name], given[name])


def test_other_trainers_file_loads_with_a_line(tmp_path, caplog):
    given = {f"model.module.{n}": v for n, v in model().state_dict().items()}
    torch.save({"state_dict": given, "epoch": 3}, tmp_path / "m.pth")
    net = model()
    with caplog.at_level(logging.INFO):
        DetectronCheckpointer(cfg, net).load(str(tmp_path / "m.pth"), with_optim=False)
    assert all(torch.equal(v, given[f"model.module.{n}"]) for n, v in net.state_dict().items())
    assert "under state_dict" in caplog.text and "model. is removed from 6 names" in caplog.text


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path, bad):
    given = model().state_dict()
    given["roi_heads.relation.predictor.bias"][2] = bad
    torch.save({"model": given}, tmp_path / "m.pth")
    net = model()
    before = {n: v.clone() for n, v in net.state_dict().items()}
    with pytest.raises(HMLError, match=r"m.pth holds NaN .* roi_heads.relation.predictor.bias \(1 of 6 tensors\)"):
        DetectronCheckpointer(cfg, net).load(str(tmp_path / "m.pth"), with_optim=False)
    assert all(torch.equal(before[n], v) for n, v in net.state_dict().items())


def test_names_match_exactly_not_by_suffix():
    given = model().state_dict()
    given["teacher.roi_heads.relation.predictor.weight"] = torch.zeros(5, 3)
    del given["roi_heads.relation.predictor.weight"]
    with pytest.raises(HMLError, match="lacks roi_heads.relation.predictor.weight"):
        load_state_dict(model(), given)


def test_missing_detector_names_are_refused_even_with_a_mapping():
    with pytest.raises(HMLError, match="lacks roi_heads.box.feature_extractor"):
        load_state_dict(model(), {"a": torch.zeros(1)}, MAPPING, ["roi_heads.relation"])


def test_wrong_class_count_changes_nothing():
    net = model()
    before = {n: v.clone() for n, v in net.state_dict().items()}
    given = model().state_dict()
    given["roi_heads.relation.predictor.bias"] = torch.zeros(7)
    with pytest.raises(HMLError, match=r"predictor.bias is \(7,\), not \(5,\).*NUM_CLASSES"):
        load_state_dict(net, given)
    assert all(torch.equal(before[n], v) for n, v in net.state_dict().items())


def test_unexpected_names_are_reported():
    given = model().state_dict()
    given["roi_heads.attribute.x"] = torch.zeros(1)
    assert load_state_dict(model(), given).unexpected == ("roi_heads.attribute.x",)


def test_optimizer_state_of_another_model(tmp_path):
    one = checkpointer(tmp_path)
    step(one)
    one.save("model_final")
    two = checkpointer(tmp_path)
    two.optimizer = torch.optim.SGD([{"params": [p]} for p in two.model.parameters()], lr=0.1)
    with pytest.raises(HMLError, match="optimizer state"):
        two.load()


def test_rng_round_trip(tmp_path):
    seed_all(3)
    random.random()
    np.random.normal()
    torch.save(rng_state(), tmp_path / "r.pth")
    drawn = random.random(), np.random.normal(), torch.rand(3)
    seed_all(4)
    set_rng_state(torch.load(tmp_path / "r.pth", weights_only=True))
    assert drawn[:2] == (random.random(), np.random.normal())
    assert torch.equal(drawn[2], torch.rand(3))


def gradients(*values):
    named = []
    for i, value in enumerate(values):
        p = torch.nn.Parameter(torch.ones(len(value) if value is not None else 1))
        p.grad = None if value is None else torch.tensor(value)
        named.append((f"p{i}", p))
    return named


def test_clip_scales_to_the_limit():
    named = gradients([3.0, 0.0], None, [4.0])
    assert float(clip_grad_norm(named, 2.0, LOG)) == pytest.approx(5.0)
    assert named[0][1].grad[0] == 3.0
    assert float(clip_grad_norm(named, 2.0, LOG, clip=True, verbose=True)) == pytest.approx(5.0)
    assert float(torch.cat([named[0][1].grad, named[2][1].grad]).norm()) == pytest.approx(2.0, rel=1e-5)
    assert float(clip_grad_norm(gradients([0.3]), 2.0, LOG, clip=True)) == pytest.approx(0.3)
    assert float(clip_grad_norm(gradients(None), 2.0, LOG, clip=True)) == 0.0


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_bad_gradient_leaves_the_weights(bad, caplog):
    named = gradients([1.0, bad], [1.0])
    optimizer = torch.optim.SGD([p for _, p in named], lr=1.0, momentum=0.9, weight_decay=0.1)
    with caplog.at_level(logging.WARNING):
        assert not math.isfinite(clip_grad_norm(named, 5.0, LOG, clip=True))
    assert "p0" in caplog.text and "p1" not in caplog.text
    optimizer.step()
    assert all(torch.equal(p, torch.ones_like(p)) for _, p in named)
