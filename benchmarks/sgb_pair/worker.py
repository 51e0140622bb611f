"""The process of one side: ``python -m sgb_pair.worker ROOT JOB THREADS``, options and turns through stdin."""

from __future__ import annotations

import json
import os
import resource
import sys

from sgb_pair.turns import Finished, Turns


def main(root: str, job: str, threads: str) -> None:
    # What the benchmark prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import torch

    from sgb_pair import annotation_jobs, model_jobs, part_jobs

    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    options = json.loads(sys.stdin.readline())
    turns = Turns(sys.stdin, answers)
    jobs = {**vars(model_jobs), **vars(part_jobs), **vars(annotation_jobs)}
    try:
        jobs[job](root, options, turns)
    except Finished:
        pass
    turns.answer(**turns.facts, peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    answers.close()
    os._exit(0)  # a training loop that was left in the middle has nothing to save


if __name__ == "__main__":
    main(*sys.argv[1:])
