"""Logger, meters, registry, imports, timers."""

from __future__ import annotations

import pytest
import torch
from maskrcnn_benchmark.utils.collect_env import collect_env_info
from maskrcnn_benchmark.utils.comm import all_gather, gather, get_rank, get_world_size, reduce_dict, synchronize
from maskrcnn_benchmark.utils.imports import import_file
from maskrcnn_benchmark.utils.logger import setup_logger
from maskrcnn_benchmark.utils.metric_logger import MetricLogger
from maskrcnn_benchmark.utils.registry import Registry
from maskrcnn_benchmark.utils.timer import Timer, get_time_str

from maskrcnn_benchmark_hml.errors import HMLError


def test_logger_set_up_twice_writes_once(tmp_path):
    for _ in range(2):
        logger = setup_logger("hml_test_logger", tmp_path)
    logger.info("hello")
    assert (tmp_path / "log.txt").read_text().count("hello") == 1
    setup_logger("hml_test_logger", tmp_path, distributed_rank=1).info("other rank")
    assert "other rank" not in (tmp_path / "log.txt").read_text()


def test_meters():
    meters = MetricLogger(delimiter="  ")
    for value in range(1, 31):
        meters.update(loss=torch.tensor(float(value)), time=0.5)
    assert meters.loss.global_avg == 15.5
    assert meters.loss.median == meters.loss.avg == 20.5
    assert str(meters) == "loss: 20.5000 (15.5000)  time: 0.5000 (0.5000)"
    with pytest.raises(AttributeError):
        _ = meters.absent


def test_registry_lists_what_it_has():
    registry = Registry()

    @registry.register("Motif")
    def make():
        return 1

    registry.register("VCTree", 2)
    assert registry["Motif"] is make
    with pytest.raises(HMLError, match="Motiv.*Motif, VCTree"):
        registry["Motiv"]
    with pytest.raises(HMLError, match="twice"):
        registry.register("VCTree", 3)


def test_import_file_runs_it_each_time(tmp_path):
    path = tmp_path / "m.py"
    path.write_text("x = 1")
    assert import_file("hml_test_m", path).x == 1
    path.write_text("x = 22")
    assert import_file("hml_test_m", path).x == 22
    with pytest.raises(HMLError, match="absent.py"):
        import_file("m", tmp_path / "absent.py")


def test_one_process():
    assert (get_rank(), get_world_size(), all_gather(3), gather(4)) == (0, 1, [3], [4])
    synchronize()
    loss = torch.ones((), requires_grad=True) * 2
    assert not reduce_dict({"a": loss})["a"].requires_grad


def test_timer_and_environment():
    timer = Timer()
    timer.tic()
    timer.toc()
    assert timer.calls == 1 and timer.average_time == timer.total_time >= 0
    assert (get_time_str(3700.4), get_time_str(1.234)) == ("1:01:40", "1.23 s")
    info = collect_env_info()
    assert "torch: " in info and "vector instructions that torch uses: " in info
