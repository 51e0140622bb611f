"""``hml predict``: scene graphs of the user's own pictures."""

from __future__ import annotations

import argparse
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .help import texts

if TYPE_CHECKING:
    from ..predict.prediction import Drawer, Predictions

DESCRIPTION = """\
Predicts the scene graphs of pictures with a finished run: its OUTPUT_DIR, trained by this package, by SGB or by a fork,
with or without HML. A run of SGDet needs pictures alone. A run of PredCls or SGCls also needs boxes (--boxes).

PICTURE is a file or a folder. In a folder all pictures are taken (.jpg .jpeg .png .webp .bmp .gif .tif .tiff), also
those in its folders; other files are named. Pictures are turned as their EXIF orientation says.

written to --out:
  graphs/<picture>.json    objects (name, box, score) and relations (subject, object, predicate, score) of one picture;
                           boxes are corners x1, y1, x2, y2 in pixels of the picture, scores fractions from 0 to 1
  drawings/<picture>.svg   the picture with its boxes, and the graph of the best relations
  scene_graphs.json        the scene graphs of all pictures

The same command continues where it stopped: a picture that is finished in --out is not predicted again, unless its
file or its boxes have changed. A folder with results of another run, checkpoint or --top is refused.

exit codes: 0 all pictures have a scene graph; 1 some could not be read, and are named; 2 bad input
"""

EXAMPLES = """\
hml predict out/motifs-hml photos                          SGDet: all pictures of the folder photos
hml predict out/motifs-hml a.jpg b.png --top 20 --out results
hml predict out/predcls photos --boxes boxes.json          PredCls or SGCls, with your boxes
hml predict out/sgb-motifs photos --sgb ~/Scene-Graph-Benchmark.pytorch
"""

DRAWINGS = ("svg", "png", "none")
SHOWN = 10
"""Lines of a kind that are printed at the end; all failures are in the record."""


def add_predict_parser(subparsers: Any) -> None:
    """Describe ``hml predict``; the parsed arguments carry the handler."""
    parser = subparsers.add_parser("predict", **texts("predict", DESCRIPTION, EXAMPLES))
    add = parser.add_argument
    add("run", metavar="RUN", help="the OUTPUT_DIR of a finished run")
    add("pictures", metavar="PICTURE", nargs="+", help="a picture, or a folder of pictures")
    add("--boxes", metavar="FILE", help="the boxes of the pictures, for PredCls and SGCls: our JSON or COCO's")
    add("--sgb", metavar="DIR", help="the checkout of SGB or of a fork that trained RUN (default: SGB_HOME or "
        "the current folder; a run of the bundled benchmark needs none)")  # fmt: skip
    add("--top", type=int, default=100, metavar="N", help="relations of a picture, at most (default: %(default)s)")
    add("--out", metavar="DIR", help="folder for the results (default: predictions/<name of RUN>)")
    add("--draw", choices=DRAWINGS, default=DRAWINGS[0], help="kind of the drawings (default: %(default)s)")
    add("--device", metavar="DEVICE", help="cpu or cuda (default: that of the run; the CPU if there is no GPU)")
    add("--batch", type=int, default=4, metavar="N", help="pictures of one shape that are predicted at once, at most; "
        "choose a smaller number if memory runs out (default: %(default)s)")  # fmt: skip
    parser.set_defaults(handler=run_predict)


def run_predict(args: argparse.Namespace) -> int:
    """Handler of ``hml predict``; returns the exit code."""
    from PIL import Image
    from tqdm import tqdm

    from ..predict.prediction import LOG, predict

    logging.getLogger(LOG).setLevel(logging.ERROR)  # the last lines name the pictures that failed
    # Pictures up to PIL's limit of 179 million pixels are read without a word, larger ones are refused.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    out = Path(args.out) if args.out else Path("predictions", Path(args.run).resolve().name)
    found = predict(args.run, args.pictures, boxes=args.boxes, sgb=args.sgb, device=args.device, top=args.top,
                    batch=args.batch, out=out, drawer=_drawer(args.draw))  # fmt: skip
    objects = relations = 0
    with tqdm(total=len(found), desc="predict", unit="picture", disable=None) as bar:
        for done, graph in enumerate(found, 1):
            objects, relations = objects + len(graph.objects), relations + len(graph.relations)
            bar.update(done + len(found.failed) - bar.n)
        bar.update(len(found) - bar.n)
    print(_summary(found, objects, relations, out))
    return 1 if found.failed else 0


def _drawer(kind: str) -> Drawer | None:
    """What draws a picture; None for no drawings."""
    if kind == "none":
        return None
    from ..files import write_text
    from ..predict.prediction import Drawer
    from ..report.scene import draw_scene

    def write(graph: Any, photo: Any, file: Path) -> None:
        drawing = draw_scene([graph], [""], photo)
        if kind == "svg":
            write_text(file, drawing.svg(), "drawing")
        else:
            drawing.png(file)

    return Drawer(f".{kind}", write)


def _summary(found: Predictions, objects: int, relations: int, out: Path) -> str:
    """What was done, and what was not, in sentences."""
    done = len(found) - len(found.failed)
    again = f", {found.reused} of them from an earlier call" if found.reused else ""
    lines = [*_some(found.notes), *_some([f"no scene graph of {name}: {why}" for name, why in found.failed.items()])]
    counted = f"{done} of {len(found)} pictures have a scene graph{again}"
    lines.append(f"{counted}: {objects:,} objects, {relations:,} relations")
    lines.append(f"wrote {found.all_file}, and a file for each picture below {out}")
    return "\n".join(lines)


def _some(lines: list[str]) -> list[str]:
    more = len(lines) - SHOWN
    return lines if more <= 0 else [*lines[:SHOWN], f"... and {more} more like the last"]
