"""Local rank from every launcher; the end of the ranks."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch.distributed as dist

from maskrcnn_benchmark_hml.compat.launcher import leave_process_group, local_rank_argument, take_local_rank
from maskrcnn_benchmark_hml.host import inline, launch

from ..host.ranks import free_port
from ..waiting import HUNG


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        (["--config-file", "c"], {}, ["--config-file", "c"]),
        (["--local-rank=1", "--config-file", "c"], {}, ["--local_rank=1", "--config-file", "c"]),
        (["--local_rank=1", "K", "V"], {"LOCAL_RANK": "1"}, ["--local_rank=1", "K", "V"]),
        (["--config-file", "c", "--local-rank", "3", "K", "V"], {}, ["--local_rank=3", "--config-file", "c", "K", "V"]),
        (["K", "V"], {"LOCAL_RANK": "2", "WORLD_SIZE": "4"}, ["--local_rank=2", "K", "V"]),
    ],
)
def test_every_launcher_ends_in_the_hosts_flag(arguments, environ, expected):
    assert local_rank_argument(arguments, environ) == expected


def test_take_local_rank_prefers_the_flag():
    assert take_local_rank(["--local-rank=1", "run"], {"LOCAL_RANK": "0"}) == ("1", ["run"])


@pytest.fixture
def process_group(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


def test_the_process_group_is_left_and_a_single_process_is_not_disturbed(process_group):
    leave_process_group()
    assert not dist.is_initialized()
    leave_process_group()


def test_a_script_under_hml_run_leaves_the_process_group(process_group, monkeypatch, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("def main():\n    pass\n")
    monkeypatch.setattr(launch, "locate", lambda sgb: SimpleNamespace(script=lambda name: script))
    monkeypatch.setattr(launch, "prepare_command_line", lambda argv, benchmark: argv)
    for name in ("enter", "add_settings", "attach"):
        monkeypatch.setattr(launch, name, lambda *words: None)
    launch.run_script("script.py", [])
    assert not dist.is_initialized()


def test_a_patched_script_leaves_the_process_group(process_group):
    inline._one_sentence(lambda: None)()
    assert not dist.is_initialized()


ENDS = """
import sys, torch, torch.distributed as dist
from maskrcnn_benchmark_hml.compat import leave_process_group

dist.init_process_group("gloo")
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(3, 2))
model(torch.ones(4, 3)).sum().backward()
for _ in range(20):
    dist.all_reduce(torch.ones(5))
{end}leave_process_group()
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", ["", "dist.destroy_process_group()\n"], ids=["left open", "ended by the script"])
def test_two_finished_ranks_do_not_abort(tmp_path, end):
    script = tmp_path / "ends.py"
    script.write_text(ENDS.format(end=end))
    for _ in range(3):  # without the pause, one in two aborts
        environ = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
        ranks = [
            subprocess.Popen([sys.executable, str(script)], env={**environ, "RANK": rank}, stderr=subprocess.PIPE)
            for rank in "01"
        ]
        for rank in ranks:
            said = rank.communicate(timeout=HUNG)[1]
            assert rank.returncode == 0, said[-2000:]
