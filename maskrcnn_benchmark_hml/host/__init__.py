"""The rooms that know the benchmark's names: which benchmark, its seams, and how a script of it is run."""
