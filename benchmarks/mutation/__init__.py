"""Parts of benchmarks/mutants.py: the changes of a file, and the tests of a changed copy."""
