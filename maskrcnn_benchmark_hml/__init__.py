"""Hierarchical Memory Learning (HML, ECCV 2022) for Scene-Graph-Benchmark.pytorch and its forks.

Importing this package has no side effects; ``hml --help`` lists what it can do.
"""

__version__ = "0.2.0"
