"""The embedded benchmark: scene graph generation behind Scene-Graph-Benchmark.pytorch's interface."""
