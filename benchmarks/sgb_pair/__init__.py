"""Parts of ``vs_sgb.py``: two processes, one with each benchmark, that take turns at the same work."""
