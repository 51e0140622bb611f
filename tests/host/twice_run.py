"""Runs ``hml run ...`` and asks the teacher twice for each batch: first with shared pooling, then with its own.

Not a test: a child process of test_sharing.py. Prints ``shared SHARED of CALLS, apart DIFFERENCE of LARGEST``.
"""

from __future__ import annotations

import sys

from maskrcnn_benchmark_hml.cli import main
from maskrcnn_benchmark_hml.host import sharing
from maskrcnn_benchmark_hml.training.teacher import Teacher

if __name__ == "__main__":
    once, distinct = Teacher.relation_logits, sharing.on_distinct
    calls, shared, apart, largest = 0, 0, 0.0, 0.0

    def count(*args):
        global shared
        shared += 1
        return distinct(*args)

    def twice(self, *args):
        global calls, apart, largest
        first, second = once(self, *args), once(self, *args)
        calls += 1
        apart = max(apart, float((first - second).abs().max()))
        largest = max(largest, float(second.abs().max()))
        return first

    Teacher.relation_logits, sharing.on_distinct = twice, count
    code = main(["run", *sys.argv[1:]])
    print(f"shared {shared} of {calls}, apart {apart:.3e} of {largest:.3e}")
    sys.exit(code)
