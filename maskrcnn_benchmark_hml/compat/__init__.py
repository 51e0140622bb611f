"""Runs Scene-Graph-Benchmark.pytorch ("the host") unmodified on torch >= 2.1, on CPU and CUDA alike.

``install(root)`` puts the shims in place; see :mod:`.shims` for the list and the symptom that each one cures.
Importing this package changes nothing.
"""
