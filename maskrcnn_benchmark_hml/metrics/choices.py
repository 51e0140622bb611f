"""The tasks and the K of recall@K, for the metrics and for command lines (without torch and numpy)."""

#: As the benchmark names them in its results.
TASKS = ("predcls", "sgcls", "sgdet")
#: The K of every recall.
KS = (20, 50, 100)
