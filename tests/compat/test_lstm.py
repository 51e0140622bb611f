"""LSTMs in mixed precision on processors that have none in low precision."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from maskrcnn_benchmark_hml.compat import lstm
from maskrcnn_benchmark_hml.compat.amp import Amp
from maskrcnn_benchmark_hml.compat.autocast import cpu_autocast_dtype

pytestmark = pytest.mark.isa
#: What the CPU's autocast knows here; torch 2.1 has no float16 there, and says so by a warning.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    TYPES = [t for t in (torch.bfloat16, torch.float16) if torch.autocast("cpu", dtype=t)._enabled]

# On this imitation of an old processor, whatever the machine: with and without the patch, in all the ways of a call.
OLD_PROCESSOR = """
import logging, sys
import torch
from torch.nn.utils.rnn import pack_sequence
from maskrcnn_benchmark_hml.compat.amp import amp
sys.path.insert(0, sys.argv[1])
from maskrcnn_benchmark.layers import LSTM

logging.basicConfig(level=logging.INFO, format="%(name)s %(message)s", stream=sys.stdout)
plain, bare, x = torch.nn.LSTM.forward, torch.nn.LSTM(8, 4), torch.ones(3, 1, 8)
model = torch.nn.Linear(8, 8)
try:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        bare(x)
    print("no imitation")
except RuntimeError as error:
    print("failed:", error)
before = torch.get_rng_state()
amp.initialize(model, torch.optim.SGD(model.parameters(), lr=0.1), opt_level="O1")
assert torch.equal(before, torch.get_rng_state()), "the trial draws random numbers"
assert torch.nn.LSTM.forward is not plain
for sequences in ([3], [3, 3], [4, 2]):
    packed = pack_sequence([torch.ones(n, 8) for n in sequences])
    for module in (bare, LSTM(8, 4, 2, bidirectional=True), torch.nn.LSTM(8, 4).eval()):
        with amp.autocast():
            module(packed)[0].data.sum().backward()
amp.deactivate()
assert torch.nn.LSTM.forward is plain
for name in sys.argv[2:]:
    dtype = getattr(torch, name)
    with torch.autocast("cpu", dtype=dtype):
        LSTM(8, 4)(x)[0].sum().backward()
print("ran")
"""


def test_they_run_without_avx512(fresh_python):
    embedded = Path(lstm.__file__).parents[1] / "embedded"
    names = [str(dtype).replace("torch.", "") for dtype in TYPES]
    done = fresh_python(OLD_PROCESSOR, str(embedded), *names, ONEDNN_MAX_CPU_ISA="SSE41", ATEN_CPU_CAPABILITY="default")
    assert done.code == 0, done.err
    assert "failed: could not create a primitive descriptor" in done.out and done.out.splitlines()[-1] == "ran"
    said = [line for line in done.out.splitlines() if "LSTMs compute in float32" in line]
    assert all(line.startswith("maskrcnn_benchmark.hml ") for line in said)
    assert len(said) == len(names) and all(f"no LSTM in {name} " in line for name, line in zip(names, said))


@pytest.fixture
def without(monkeypatch):
    monkeypatch.setattr(lstm, "runs_under_autocast", lambda dtype: False)


class OwnForward(torch.nn.LSTM):
    forward = lstm.in_float32_where_needed(torch.nn.LSTM.forward)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("lengths", [(3, 3), (4, 2)])
def test_the_lstm_alone_is_in_float32(without, dtype, lengths):
    module, linear = OwnForward(8, 4), torch.nn.Linear(4, 4)
    sequences, state = [torch.randn(n, 8) for n in lengths], tuple(torch.randn(2, 1, 2, 4).unbind())
    expected, last = module(pack_sequence(sequences), state)
    with torch.autocast("cpu", dtype=dtype):
        out, (hidden, cell) = module(pack_sequence(sequences), state)
        assert linear(out.data).dtype == dtype  # autocast is on again
        halves = module(pack_sequence(sequences).to(dtype), tuple(s.to(dtype) for s in state))[0]
    assert torch.equal(out.data, expected.data) and torch.equal(hidden, last[0]) and torch.equal(cell, last[1])
    assert halves.data.dtype == torch.float32
    torch.testing.assert_close(halves.data, expected.data, atol=0.02, rtol=0)


def test_a_module_of_low_precision_keeps_its_type(without):
    module = OwnForward(8, 4).to(torch.bfloat16)
    try:
        torch.nn.LSTM.forward(module, torch.ones(3, 8, dtype=torch.bfloat16))
    except RuntimeError as error:
        pytest.skip(f"this torch has no bfloat16 LSTM on this processor at all: {error}")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert module(torch.ones(3, 8))[0].dtype == torch.bfloat16


def test_nothing_changes_where_they_run(monkeypatch, caplog):
    monkeypatch.setattr(lstm, "runs_under_autocast", lambda dtype: True)
    plain, amp, module = torch.nn.LSTM.forward, Amp(), torch.nn.LSTM(8, 4)
    with caplog.at_level(logging.INFO):
        amp.initialize(module, torch.optim.SGD(module.parameters(), lr=0.1), opt_level="O1")
    assert torch.nn.LSTM.forward is plain and not caplog.records
    amp.deactivate()
    calls = []
    forward = lstm.in_float32_where_needed(lambda self, *arguments: calls.append(arguments))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        forward(module, x := torch.ones(1, 8), None)
    assert calls[0][0] is x and calls[0][1] is None


def test_the_type_of_autocast_without_a_name_that_torch_gives_up():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cpu_autocast_dtype() is None
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert cpu_autocast_dtype() is torch.bfloat16
            lstm.in_float32_where_needed(torch.nn.LSTM.forward)(torch.nn.LSTM(4, 4), torch.ones(2, 1, 4))
