"""``hml data``: check, make or convert a dataset folder."""

from __future__ import annotations

import argparse
import importlib
import os
from pathlib import Path

from ..datasets.formats.table import FORMATS, Format
from ..datasets.mini_vg_grammar import DEFAULT_IMAGES
from .help import command_list, texts

DESCRIPTION = """\
Training and tests read a dataset folder (`hml run --data DIR`, or HML_DATA). Its files, described in docs/data.md:
  VG-SGG-with-attri.h5  VG-SGG-dicts-with-attri.json  image_data.json  VG_100K/<image_id>.jpg
"""

_FORMAT_EXAMPLES = "\n".join(form.example for form in FORMATS.values())
EXAMPLES = f"""\
hml data check datasets/vg                         find the first error in a folder, or count what it contains
hml data make-mini-vg datasets/mini_vg             make synthetic scenes, in seconds
{_FORMAT_EXAMPLES}
hml data clean datasets/mine datasets/mine_clean   copy without self-pairs and repeated relations
hml data subset datasets/vg datasets/vg_few --predicates on,riding,wearing --split train,val
hml data placeholders datasets/mine                draw the missing pictures from the annotations
"""

CHECK = """\
Checks a dataset folder. Reports the first error (a missing file, key or picture, a wrong index, box or relation) in
one sentence and exits with 2. Without an error, prints the numbers of images, objects and relations, of the relations
of every predicate, and of the test split's zero-shot triplets. Warns of boxes that fit another convention than centre,
width and height at scale 1024.
"""

MINI_VG = """\
Draws a small synthetic dataset with Visual Genome's vocabulary (150 objects, 50 predicates) and long tail. The fine
relation of every pair can be seen in the picture; the annotation mostly gives the coarse one. The same number of images
and seed give the same bytes. docs/mini-vg.md describes how it is made. Results on it say nothing about photographs.
"""

CLEAN = """\
Copies DIR to OUT without relations of an object with itself and without exact repetitions of a relation, and prints how
many it dropped. If the h5 file has no attributes, the copy gets an attribute array of zeros (no attributes). Arrays of
unsigned integers become signed. Pictures are linked, not copied.
"""

SUBSET = """\
Copies a part of DIR to OUT: the chosen predicates, object classes, images and splits; an option that is not given keeps
all. Names keep their order and count from 1 again. An object whose class is left out goes with its relations; an image
stays if it has lost its relations. Validation images stay validation images. Prints what was kept and why the rest was
left out. Pictures are linked, not copied.
"""

PLACEHOLDERS = """\
Draws a picture for every image of DIR whose photograph is missing: its boxes as coloured rectangles with class names,
in the size that image_data.json gives. Existing pictures stay unchanged. A model trained on placeholders learns from
labels and geometry, not from photographs.
"""


#: Command -> its line in ``hml data --help``, its own description.
COMMANDS = {
    "check": ("find the first error in a dataset folder, or count what it contains", CHECK),
    "make-mini-vg": ("make the synthetic dataset", MINI_VG),
    **{name: (form.line, form.text) for name, form in FORMATS.items()},
    "clean": ("copy a folder without self-pairs and repeated relations", CLEAN),
    "subset": ("copy the chosen predicates, object classes, images or splits", SUBSET),
    "placeholders": ("draw the pictures that are missing", PLACEHOLDERS),
}


def add_data_parser(subparsers: argparse._SubParsersAction) -> None:
    """Describe ``hml data`` and its commands; the parsed arguments carry their ``handler``."""
    listed = command_list((name, line) for name, (line, _) in COMMANDS.items())
    parser = subparsers.add_parser(
        "data",
        usage="hml data [-h] COMMAND ...",
        **texts("data", f"{DESCRIPTION}\n{listed}\n\nhml data COMMAND --help shows the options.", EXAMPLES),
    )
    commands = parser.add_subparsers(
        dest="data_command", metavar="COMMAND", required=True, prog="hml data", help=argparse.SUPPRESS
    )
    parsers = {name: _add_command(commands, name) for name in COMMANDS}
    check, mini, clean, subset, drawn = (parsers[name] for name in COMMANDS if name not in FORMATS)

    check.add_argument("dir", metavar="DIR", type=Path, help="the dataset folder")
    check.add_argument(
        "--pictures", action="store_true", help="also open every picture and compare its size (slow on VG)"
    )
    check.set_defaults(handler=run_check)

    mini.add_argument("out", metavar="OUT", type=Path, help="folder to create")
    mini.add_argument(
        "--images",
        type=int,
        default=DEFAULT_IMAGES,
        metavar="N",
        help="number of images: 6/9 training, 1/9 validation, 2/9 test (default: %(default)s)",
    )
    mini.add_argument("--seed", type=int, default=0, metavar="S", help="random seed (default: %(default)s)")
    _add_force(mini)
    mini.set_defaults(handler=run_make_mini_vg)

    for name, form in FORMATS.items():
        _describe_format(parsers[name], form)

    clean.add_argument("dir", metavar="DIR", type=Path, help="the dataset folder; it stays unchanged")
    clean.add_argument("out", metavar="OUT", type=Path, help="folder to create")
    _add_force(clean)
    clean.set_defaults(handler=run_clean)

    subset.add_argument("dir", metavar="DIR", type=Path, help="the dataset folder; it stays unchanged")
    subset.add_argument("out", metavar="OUT", type=Path, help="folder to create")
    for kind, listed in (("predicates", "predicates"), ("objects", "object classes")):
        text = f"{listed} to keep: names with commas between them, or a file with one a line (default: all)"
        subset.add_argument(f"--{kind}", metavar="NAMES|FILE", help=text)
    subset.add_argument(
        "--images",
        metavar="IDS|FILE",
        help="images to keep: ids, or ids or file names of their source, given in the same way (default: all)",
    )
    subset.add_argument("--split", metavar="SPLITS", help="splits to keep, of train, val, test (default: all)")
    _add_force(subset)
    subset.set_defaults(handler=run_subset)

    drawn.add_argument("dir", metavar="DIR", type=Path, help="the dataset folder; the pictures are written into it")
    drawn.set_defaults(handler=run_placeholders)


def _add_command(commands: argparse._SubParsersAction, name: str) -> argparse.ArgumentParser:
    example = next(line for line in EXAMPLES.splitlines() if line.startswith(f"hml data {name} "))
    return commands.add_parser(name, **texts("data", COMMANDS[name][1], example.partition("   ")[0]))


def _add_force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="replace OUT if it already holds a dataset")


def run_check(args: argparse.Namespace) -> int:
    """``hml data check``; returns the exit code."""
    from ..datasets.check import check_vg

    print(check_vg(args.dir, open_pictures=args.pictures).text())
    return 0


def run_make_mini_vg(args: argparse.Namespace) -> int:
    """``hml data make-mini-vg``; returns the exit code."""
    from ..datasets.check import check_vg
    from ..datasets.layout import require_free
    from ..datasets.mini_vg import make_mini_vg

    require_free(args.out, args.force)
    make_mini_vg(args.out, args.images, args.seed, force=args.force)
    report = check_vg(args.out)
    print(
        f"{args.out}: {report.images['train']} training images (the first {report.validation} are the validation split)"
        f" and {report.images['test']} test images,"
        f" {report.relations['train']} and {report.relations['test']} relations"
    )
    print("synthetic: see docs/mini-vg.md before quoting a figure measured on it")
    print(f"next: hml demo --data {args.out}")
    return 0


def _describe_format(parser: argparse.ArgumentParser, form: Format) -> None:
    for place, (name, text) in (("source", form.source), ("target", form.target)):
        parser.add_argument(place, metavar=name, type=Path, help=text)
    for option in form.options:
        parser.add_argument(option.name, **option.arguments)
    if form.makes_dataset:
        _add_force(parser)
    names = [option.name.lstrip("-").replace("-", "_") for option in form.options]
    parser.set_defaults(handler=run_format, form=form, options=names + ["force"] * form.makes_dataset)


def run_format(args: argparse.Namespace) -> int:
    """A command of the table of formats; returns the exit code."""
    from ..datasets.layout import PHOTOS_NAME, require_free

    form: Format = args.form
    if form.makes_dataset:
        require_free(args.target, args.force)
    module, function = form.call.split(":")
    convert = getattr(importlib.import_module(f"{__package__.rpartition('.')[0]}.datasets.{module}"), function)
    report = convert(args.source, args.target, **{name: getattr(args, name) for name in args.options})
    print("\n".join(report.lines()))
    if form.makes_dataset:
        without = not os.listdir(args.target / PHOTOS_NAME)
        print(f"next: hml data {'placeholders' if without else 'check'} {args.target}")
    return 0


def run_clean(args: argparse.Namespace) -> int:
    """``hml data clean``; returns the exit code."""
    from ..datasets.clean import clean_vg

    report = clean_vg(args.dir, args.out, force=args.force)
    print("\n".join(report.lines()))
    print(f"next: hml data check {args.out}")
    return 0


def run_subset(args: argparse.Namespace) -> int:
    """``hml data subset``; returns the exit code."""
    from ..datasets.layout import require_free
    from ..datasets.subset import given_list, subset_vg

    require_free(args.out, args.force)
    chosen = {name: given_list(getattr(args, name)) for name in ("predicates", "objects", "images")}
    report = subset_vg(args.dir, args.out, **chosen, splits=given_list(args.split), force=args.force)
    print("\n".join(report.lines()))
    print(f"next: hml data check {args.out}")
    return 0


def run_placeholders(args: argparse.Namespace) -> int:
    """``hml data placeholders``; returns the exit code."""
    from ..datasets.placeholder import fill_placeholders

    drawn, present = fill_placeholders(args.dir)
    print(f"{drawn:,} placeholder pictures drawn, {present:,} pictures already existed")
    print(f"next: hml data check {args.dir}")
    return 0
