"""``hml draw``: scene graphs of test pictures, runs side by side."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import HMLError
from .help import texts

if TYPE_CHECKING:
    from ..report.scene.results import Results
    from ..report.scene.runs import DrawnPicture

FORMATS = ("svg", "png", "dot", "graphml")
OUT = "outputs/draw"

DESCRIPTION = """\
Draws the scene graphs that runs predicted on pictures of their test: the photo with the objects' boxes, and beside it
the graph of each run. RUN is the OUTPUT_DIR of a run of this package, of SGB or of a fork, tested with
TEST.SAVE_PREDICTIONS True (the default), or the output of hml predict.

  ✓ before a predicate: the annotation has this relation
  ≠ before a predicate: another run has another predicate for this pair of objects

Without --images, several runs: the pictures with the most relations marked ≠. One run: pictures at equal distances in
the order of the test.
"""

EXAMPLES = """\
hml draw out/baseline out/hml
hml draw out/baseline out/hml --images 2343,2344 --top 30 --out figures --format svg
hml draw out/hml --changed 20 --photos datasets/vg/VG_100K
hml draw out/hml --images 2343 --format dot,graphml
"""


def add_draw_parser(subparsers: Any) -> None:
    """Describe ``hml draw``; the parsed arguments carry the handler."""
    about = texts("draw", DESCRIPTION, EXAMPLES)
    parser = subparsers.add_parser("draw", usage="hml draw RUN [RUN ...] [options]", **about)
    add = parser.add_argument
    add("runs", nargs="+", metavar="RUN", help="the OUTPUT_DIR of a run")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--images", metavar="IDS", help="draw these pictures: ids (file names without their ending), "
                       "separated by commas")
    which.add_argument("--changed", metavar="N", type=int, help="draw N pictures, those in which the runs differ most "
                       "(default: 8)")
    add("--top", metavar="N", type=int, default=20, help="relations drawn of each run (default: %(default)s)")
    add("--out", metavar="DIR", type=Path, default=Path(OUT), help="folder for the drawings (default: %(default)s)")
    add("--format", metavar="LIST", default="svg,png", help="any of svg, png, dot, graphml, separated by commas "
        "(default: %(default)s); dot and graphml are one file for each run")
    add("--photos", metavar="DIR", type=Path, help="folder in which the photos are looked for (default: the place that "
        "the test read them from)")
    parser.set_defaults(handler=run_draw)


def run_draw(args: argparse.Namespace) -> int:
    """``hml draw``; returns the exit code. Nothing is written before all runs could be read."""
    from tqdm import tqdm

    from ..report.scene import graphviz
    from ..report.scene.choose import check_same_test
    from ..report.scene.results import load_results
    from ..report.scene.runs import draw_runs

    formats = _check(args)
    runs = [load_results(path) for path in args.runs]
    check_same_test(runs)
    ids, rule = _chosen(args, runs)
    print(rule)
    missing: list[str] = []
    drawn = draw_runs(runs, ids, top=args.top, photos=args.photos)
    for picture in tqdm(drawn, "drawing", total=len(ids), unit="picture", disable=None):
        _write(picture, args, formats)
        missing += [picture.without_photo] if picture.without_photo else []
    count = f"{len(ids)} picture{'' if len(ids) == 1 else 's'}"
    print(f"wrote {count} to {args.out} ({', '.join(formats)}): {', '.join(ids)}")
    if not graphviz.layout_command() and {"svg", "png"} & set(formats):
        print(
            "the relations are drawn as lists, because Graphviz is not installed; install its program dot, or "
            "pip install 'maskrcnn_benchmark_hml[graph]', to see graphs"
        )
    if missing:
        print(
            f"{len(missing)} of them without the photo, on a blank ground: {missing[0]}; give the folder of the "
            "photos with --photos DIR"
        )
    return 0


def _check(args: argparse.Namespace) -> list[str]:
    """The formats; HMLError for options that cannot be."""
    from ..files import check_place

    formats = list(dict.fromkeys(word.strip() for word in args.format.split(",") if word.strip()))
    wrong = [word for word in formats if word not in FORMATS]
    if wrong or not formats:
        raise HMLError(f"--format is {args.format!r}; choose from {', '.join(FORMATS)}, separated by commas")
    for option, value in (("--top", args.top), ("--changed", args.changed)):
        if value is not None and value < 1:
            raise HMLError(f"{option} is {value}; give a number from 1 on")
    if args.photos is not None and not args.photos.is_dir():
        raise HMLError(f"--photos {args.photos} is not a folder; give the folder with the photos")
    if len(set(args.runs)) < len(args.runs):
        raise HMLError("the same RUN is given twice; give different runs")
    check_place(args.out, "--out")
    return formats


def _chosen(args: argparse.Namespace, runs: Sequence[Results]) -> tuple[list[str], str]:
    """The ids of the pictures, and how they were chosen."""
    from ..report.scene.choose import CHANGED, evenly_spaced, most_changed, named

    if args.images is not None:
        ids = named(runs, [word.strip() for word in args.images.split(",") if word.strip()])
        if not ids:
            raise HMLError("--images names no picture; give ids, separated by commas")
        return ids, f"drawing {len(ids)} of {len(runs[0].ids)} pictures, as named"
    count = CHANGED if args.changed is None else args.changed
    if len(runs) == 1:
        ids = evenly_spaced(runs[0], count)
        return ids, f"drawing {len(ids)} of {len(runs[0].ids)} pictures, at equal distances in the order of the test"
    ids = most_changed(runs, count, args.top)
    if not ids:
        raise HMLError(
            "the runs have the same predicates in all pictures, so none is chosen; name pictures with --images IDS"
        )
    return ids, (
        f"drawing {len(ids)} of {len(runs[0].ids)} pictures, those with the most relations whose pair has another "
        f"predicate in another run (of the {args.top} strongest relations of each run)"
    )


def _write(picture: DrawnPicture, args: argparse.Namespace, formats: Sequence[str]) -> None:
    from ..files import write_text
    from ..report.runs import short_paths
    from ..report.scene.compare import strongest
    from ..report.scene.export import dot_text, graphml_text

    base = args.out / _file_name(picture.id)
    for kind in formats:
        if kind == "svg":
            write_text(f"{base}.svg", picture.drawing.svg(), "drawing")
        elif kind == "png":
            picture.drawing.png(f"{base}.png")
        else:
            text = dot_text if kind == "dot" else graphml_text
            for run, graph in zip(short_paths(args.runs), picture.graphs):
                write_text(f"{base}.{_file_name(run)}.{kind}", text(strongest(graph, args.top)), "graph")


def _file_name(text: str) -> str:
    """A text as a part of a file's name."""
    return re.sub(r"[^\w.-]+", "-", text).strip(".-") or "picture"
