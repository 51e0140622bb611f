"""Two processes over gloo."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from ...waiting import HUNG

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import os, torch, torch.distributed as dist
from maskrcnn_benchmark.utils import comm
from maskrcnn_benchmark.engine.trainer import reduce_loss_dict
from maskrcnn_benchmark_hml.compat import leave_process_group
dist.init_process_group("gloo", init_method="env://")
rank = comm.get_rank()
assert comm.get_world_size() == 2 and comm.is_main_process() == (rank == 0)
comm.synchronize()
assert comm.all_gather({"x": torch.full((rank + 1,), rank)})[1]["x"].tolist() == [1, 1]
got = comm.gather([rank])
assert got == ([[0], [1]] if rank == 0 else None)
# Under NCCL objects go over a gloo group of their own, made once.
real, made = dist.get_backend, []
dist.get_backend = lambda group=None: "nccl" if group is None else real(group)
new_group = dist.new_group
dist.new_group = lambda **kw: made.append(kw) or new_group(**kw)
for _ in range(2):
    got = comm.gather([rank + 5])
    assert got == ([[5], [6]] if rank == 0 else None)
    assert comm.all_gather(rank) == [0, 1]
assert made == [{"backend": "gloo"}]
dist.get_backend = real
losses = {"b": torch.tensor(1.0 + rank, requires_grad=True), "a": torch.tensor(3.0)}
reduced = reduce_loss_dict(losses)
assert list(reduced) == ["b", "a"] and float(reduced["b"]) == 1.5 and float(reduced["a"]) == 3.0
assert float(comm.reduce_dict({"b": torch.tensor(1.0)}, average=False)["b"]) == 2.0
leave_process_group()
print("fine")
"""


def test_two_processes():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    path = os.pathsep.join([str(ROOT), str(ROOT / "maskrcnn_benchmark_hml" / "embedded")])
    env = {**os.environ, "PYTHONPATH": path, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2",
           "OMP_NUM_THREADS": "1"}  # fmt: skip
    command, pipes = [sys.executable, "-c", PROGRAM], {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    children = [subprocess.Popen(command, env={**env, "RANK": str(rank)}, text=True, **pipes) for rank in range(2)]
    for child in children:
        out, err = child.communicate(timeout=HUNG)
        assert child.returncode == 0 and "fine" in out, err
