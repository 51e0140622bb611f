"""What HML's state costs per training step of the second stage: Fisher, importance and the MR gradient.

    python benchmarks/step_cost.py [--repeats N] [--naive-repeats N] [--threads N] [--scale S]

Five ways of doing the same work on the same tensors, in one run (P = 28,769,453 float32 numbers in 62 tensors, the
size that the authors' code reports):

  hml           this package: ImportanceTracker (one term of eq. 9 per step) and ModelReconstruction, flat vectors
                walked in 32k blocks
  hml, step     the same under HML.IMPORTANCE.EFFECTIVE step: first the sum that says whether the loss rises
  authors       the authors' sequence of operations: each quantity (theta for MR, theta before, squared gradients,
                gradients, theta after) grown by one torch.cat per tensor; MR through autograd; clamps by mask;
                one term of the importance per step
  concatenated  the same with a single torch.cat per quantity
  copy          a plain copy of P numbers: what memory alone allows

The forward and backward pass of the network and the optimizer's own step are outside all of them. A step is timed
after warm-up; the figure is the median. A table comes first, then one line of JSON, the last line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from tqdm import tqdm

from maskrcnn_benchmark_hml.method.reconstruction import ModelReconstruction
from maskrcnn_benchmark_hml.method.tracker import ImportanceTracker

TENSORS = 62
NUMEL = 28_769_453
LEARNING_RATE = 0.01


def shapes(scale: float) -> list[tuple[int, ...]]:
    """31 weight matrices of 512 rows with their biases; the last pair takes the remainder, so that P is exact."""
    total, pairs = int(NUMEL * scale), TENSORS // 2
    width = max(1, total // pairs // 512 - 1)
    chosen = [(512, width), (512,)] * (pairs - 1)
    rest = total - (pairs - 1) * 512 * (width + 1)
    return [*chosen, (rest - 51,), (51,)]


class Problem:
    """Parameters with gradients, and what the previous stage left."""

    def __init__(self, scale: float, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.params = [torch.nn.Parameter(torch.randn(shape) * 0.02) for shape in shapes(scale)]
        self.named = [(f"p{i}", p) for i, p in enumerate(self.params)]
        self.star = {name: p.detach() + 1e-3 * torch.randn_like(p) for name, p in self.named}
        self.fisher = {name: torch.rand_like(p) * 1e-6 for name, p in self.named}
        self.omega = {name: torch.rand_like(p) for name, p in self.named}
        self.numel = sum(p.numel() for p in self.params)
        self._gradients = [torch.randn_like(p) * 1e-3 for p in self.params]

    def set_gradients(self) -> None:
        """The gradients as a backward pass of the losses would leave them; not timed."""
        for p, gradient in zip(self.params, self._gradients):
            if p.grad is None:
                p.grad = gradient.clone()
            else:
                p.grad.copy_(gradient)

    @torch.no_grad()
    def optimizer_step(self) -> None:
        """Plain SGD; not timed."""
        for p in self.params:
            p.add_(p.grad, alpha=-LEARNING_RATE)


class Hml:
    """The package's way."""

    def __init__(self, problem: Problem, effective: str = "parameter") -> None:
        self.tracker = ImportanceTracker(problem.named, effective=effective)
        self.mr = ModelReconstruction(problem.named, problem.star, problem.fisher, problem.omega, lam=0.5)

    def before_step(self) -> None:
        """Gradients are final: record them, add MR's gradient."""
        self.tracker.record_gradients()
        self.mr.add_gradient_()

    def after_step(self) -> None:
        """The parameters have moved."""
        self.tracker.record_step()


def grow(parts: Iterable[Tensor]) -> Tensor:
    """One vector out of many tensors, lengthened tensor by tensor."""
    vector = torch.empty(0)
    for part in parts:
        vector = torch.cat((vector, part.reshape(-1)))
    return vector


def join(parts: Iterable[Tensor]) -> Tensor:
    """One vector out of many tensors, in one go."""
    return torch.cat([part.reshape(-1) for part in parts])


class Naive:
    """Whole vectors, made anew at every step; MR as a loss term through autograd."""

    def __init__(self, problem: Problem, flatten: Callable[[Iterable[Tensor]], Tensor]) -> None:
        self.params, self.flatten = problem.params, flatten
        self.star = join(problem.star.values())
        self.weights = join(problem.fisher.values()) + join(problem.omega.values())
        self.fisher = torch.zeros(problem.numel)
        self.importance = torch.zeros(problem.numel)

    def before_step(self) -> None:
        """MR forward and backward, then theta, gradients and their squares as vectors, then F."""
        theta = self.flatten(self.params)
        torch.mean(0.5 * self.weights * (self.star - theta) ** 2).backward()
        self.theta = self.flatten(p.detach() for p in self.params)
        square = self.flatten(p.grad**2 for p in self.params)
        self.grad = self.flatten(p.grad for p in self.params)
        square[square != square] = 0
        square[square > 1] = 1
        square[square < 1e-20] = 1e-20
        self.fisher = 0.5 * square + 0.5 * self.fisher

    def after_step(self) -> None:
        """Theta again, the step's importance, and its sum so far."""
        moved = self.flatten(p.detach() for p in self.params) - self.theta
        below = self.fisher * moved**2
        below[below < 1e-20] = 1e-20
        above = self.grad * moved
        above[above < 1e-15] = 1e-15
        importance = 2 * above / below
        importance[importance != importance] = 0
        self.importance = importance + self.importance


def time_steps(problem: Problem, way: Hml | Naive, repeats: int, warmup: int, bar: tqdm) -> list[float]:
    """Seconds of each timed step."""
    seconds = []
    for turn in range(warmup + repeats):
        problem.set_gradients()
        start = time.perf_counter()
        way.before_step()
        middle = time.perf_counter()
        problem.optimizer_step()
        resumed = time.perf_counter()
        way.after_step()
        if turn >= warmup:
            seconds.append(middle - start + time.perf_counter() - resumed)
        bar.update()
    return seconds


def time_copy(numel: int, repeats: int) -> list[float]:
    """Seconds of each copy of a vector into another that exists."""
    source, target = torch.randn(numel), torch.zeros(numel)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        target.copy_(source)
        seconds.append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20, help="timed steps of hml, and timed copies (default 20)")
    parser.add_argument("--naive-repeats", type=int, default=3, help="timed steps of the naive ways (default 3)")
    parser.add_argument("--threads", type=int, default=2, help="torch's threads (default 2)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of P, for a quick look (default 1)")
    args = parser.parse_args()
    if min(args.repeats, args.naive_repeats, args.threads) < 1 or not 0.01 <= args.scale <= 10:
        parser.error("repeats and threads are at least 1, the scale lies in [0.01, 10]")
    torch.set_num_threads(args.threads)
    problem = Problem(args.scale)
    ways: list[tuple[str, Callable[[], Hml | Naive], int, int]] = [
        ("hml", lambda: Hml(problem), args.repeats, 3),
        ("hml, step", lambda: Hml(problem, "step"), args.repeats, 3),
        ("concatenated", lambda: Naive(problem, join), args.naive_repeats, 1),
        ("authors", lambda: Naive(problem, grow), args.naive_repeats, 1),
    ]
    median = {"copy": statistics.median(time_copy(problem.numel, args.repeats))}
    with tqdm(total=sum(repeats + warmup for *_, repeats, warmup in ways), desc="steps", disable=None) as bar:
        for name, make, repeats, warmup in ways:
            bar.set_postfix_str(name)
            median[name] = statistics.median(time_steps(problem, make(), repeats, warmup, bar))
    print(f"P = {problem.numel:,} in {len(problem.params)} tensors, {args.threads} threads, median of one step")
    print(f"{'way':<14}{'ms':>10}{'x hml':>10}{'x copy':>10}")
    for name in ("copy", "hml", "hml, step", "concatenated", "authors"):
        ms = 1000 * median[name]
        print(f"{name:<14}{ms:>10.1f}{median[name] / median['hml']:>10.2f}{median[name] / median['copy']:>10.1f}")
    result = {
        "benchmark": "step_cost",
        "numel": problem.numel,
        "tensors": len(problem.params),
        "threads": args.threads,
        "seconds": {name: round(value, 5) for name, value in median.items()},
        "authors_over_hml": round(median["authors"] / median["hml"], 1),
        "concatenated_over_hml": round(median["concatenated"] / median["hml"], 1),
        "hml_over_copy": round(median["hml"] / median["copy"], 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
