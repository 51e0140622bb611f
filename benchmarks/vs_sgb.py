"""The embedded benchmark against an unmodified Scene-Graph-Benchmark checkout, on the same data in one run.

    SGB_HOME=DIR python benchmarks/vs_sgb.py [--quick] [--only SECTION ...] [--threads N]

Scene-Graph-Benchmark runs through this package's compatibility layer. For each row two processes, one with each
benchmark, do the same work in turns (SGB, ours, SGB, ours, ...); the figures are the medians of their turns, and the
ratio is SGB's over ours, so above 1 we are faster. Sections:

  step          PredCls training step of the three predictors, ResNeXt-101-32x8d-FPN and full-width heads, with the
                checkout's published config: two 160-pixel pictures of 12 objects, 264 pairs. And peak memory.
  slim          the same at a demonstration's size: each side's smallest backbone with narrow heads
  sgdet         SGDet training step of MOTIFS at full width, the detector's weights equal, 20 detections an image
  forward       PredCls test forward of an image at full width, and its share of matrix products
  validation    PredCls validation per image, metrics included, at a demonstration's size
  context       VCTree's context encoder alone, at full width
  trees         VCTree: from pair scores to binary trees
  construction  making VCTree's context encoder, SGB's initialisation as it stands (without our shim); takes minutes
  metrics       the evaluation per image: PredCls with 12 objects, SGDet with 80 boxes
  annotations   loading and statistics at Visual Genome's scale: 57,723 training images of 22 objects and 7 relations
  growth        how some of these grow with images, objects per image and predicates

Pictures are made up and annotations random. Progress goes to stderr, a table and then one line of JSON to stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from sgb_pair import sections
from sgb_pair.pair import Machine
from tqdm import tqdm


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer turns and a tenth of the annotations")
    parser.add_argument("--only", nargs="+", choices=sections.SECTIONS, metavar="SECTION", help="these sections only")
    parser.add_argument("--growth", action="store_true", help="the growth section only")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch on each side (default: 1)")
    parser.add_argument("--sgb", default=os.environ.get("SGB_HOME"), help="the checkout (default: SGB_HOME)")
    options = parser.parse_args()
    if not options.sgb or not (Path(options.sgb) / sections.CONFIG).is_file():
        parser.error("needs a Scene-Graph-Benchmark checkout: set SGB_HOME or give --sgb DIR")
    if options.threads < 1:
        parser.error("--threads is at least 1")
    return options


def show(row: dict) -> str:
    bar = "" if row.get("bar") is None else f"{row['bar']:>7g}{'  met' if row['met'] else '  MISSED'}"
    return f"{row['what']:<58}{row['sgb']:>11.5g}{row['ours']:>11.5g}{row['unit']:>4}{row['ratio']:>8.2f}{bar}"


def main() -> None:
    options = parse()
    chosen = ["growth"] if options.growth else options.only or list(sections.SECTIONS)
    started, rows, facts = time.perf_counter(), [], {}
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(str(Path(options.sgb).resolve()), options.threads, Path(folder), options.quick)
        for name in tqdm(chosen, unit="section", disable=None):
            for row in sections.SECTIONS[name](machine, facts):
                if row.get("bar") is not None:
                    row["met"] = row["ratio"] >= row["bar"]
                rows.append({"section": name, **row})
                tqdm.write(show(row), file=sys.stderr)
    seconds = time.perf_counter() - started
    print(f"\n{options.threads} thread(s) a side, load {load:.1f} before and {os.getloadavg()[0]:.1f} after, "
          f"{seconds / 60:.1f} minutes")
    print(f"{'':<58}{'SGB':>11}{'ours':>11}{'':>4}{'ratio':>8}{'bar':>7}")
    for row in rows:
        print(show(row))
    for line in sections.explain(facts):
        print(line)
    rounded = [{k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    missed = [row["what"] for row in rows if row.get("met") is False]
    print(json.dumps({"benchmark": "vs_sgb", "rows": rounded, "facts": facts, "threads": options.threads,
                      "quick": options.quick, "load": [load, os.getloadavg()[0]], "seconds": round(seconds),
                      "missed": missed, "met": not missed}))


if __name__ == "__main__":
    main()
