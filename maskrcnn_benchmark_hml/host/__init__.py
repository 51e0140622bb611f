"""All that knows the benchmark's names: which benchmark, its hook points, and how a script of it is run."""
