"""The table of foreign formats: what ``hml data`` offers for each, and the function that does it.

Plain data, so that ``--help`` stays fast. The function gets the two places, ``force`` where the command has it, and the
options by name; it returns what was done, with a method ``lines()``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Option:
    """An option of a command: its name and the further arguments of ``add_argument``."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Format:
    """One command.

    Attributes:
        line: in the list of commands. text: its description.
        example: a command line with all that is needed.
        source, target: the two places -> name and help.
        call: ``module:function``, relative to ``datasets``.
        makes_dataset: the second place is a new dataset folder; it has ``--force``, and its check comes next.
    """

    line: str
    text: str
    example: str
    call: str
    source: tuple[str, str]
    target: tuple[str, str] = ("OUT", "folder to create")
    options: tuple[Option, ...] = field(default=())
    makes_dataset: bool = True


PHOTOS = Option(
    "--photos",
    {"type": Path, "metavar": "DIR", "help": "the pictures; subfolders are searched, JPEG files are linked"},
)
SKIP_MISSING = Option(
    "--skip-missing",
    {"action": "store_true", "help": "leave out and count images whose picture is missing, instead of an error"},
)

#: Command -> format.
FORMATS: dict[str, Format] = {
    "convert-coco": Format(
        line="convert COCO JSON with relations (SGG-Benchmark, RelTR)",
        text="""\
Converts COCO JSON with rel_categories and rel_annotations, the format of SGG-Benchmark and its sets of VG150, PSG and
IndoorVG. SRC is a folder with {train,val,test}/_annotations.coco.json, or with {train,val,test}.json, where RelTR's
rel.json may hold the relations; or one such file. Pictures beside the annotations are used. Prints which id was taken
for the background, and the number of annotations that were dropped, with the reason.
""",
        example="hml data convert-coco datasets/psg_coco datasets/psg",
        call="formats.coco:convert_coco",
        source=("SRC", "folder with one file for each split, or one file"),
        options=(
            Option("--photos", {"type": Path, "metavar": "DIR", "help": "the pictures (default: SRC, if it has any)"}),
            SKIP_MISSING,
            Option(
                "--test",
                {
                    "type": float,
                    "metavar": "SHARE",
                    "help": "share of the images, drawn at random, for testing, if SRC is one file (default: 0.2)",
                },
            ),
        ),
    ),
    "export-coco": Format(
        line="write a dataset folder as COCO JSON with relations",
        text="""\
Writes OUT/{train,val,test}/_annotations.coco.json in the format of SGG-Benchmark, with the pictures beside them as
links. Converting OUT back gives the same annotations. Prints what the format or its reader cannot hold.
""",
        example="hml data export-coco datasets/vg outputs/vg_coco",
        call="formats.coco_export:export_coco",
        source=("DIR", "the dataset folder"),
        makes_dataset=False,
    ),
    "convert-psg": Format(
        line="convert PSG's JSON, segments as boxes",
        text="""\
Converts psg.json (panoptic scene graphs on COCO pictures) or another file of its form. Every segment, thing or stuff,
becomes an object with the box that the file gives. Validation: the first 1,000 training images with relations (a tenth
of a set with less than 10,000). Images without relations stay.
""",
        example="hml data convert-psg psg.json datasets/psg --photos coco",
        call="formats.psg:convert_psg",
        source=("SRC", "the JSON file"),
        options=(
            PHOTOS,
            SKIP_MISSING,
            Option(
                "--strip-names",
                {"action": "store_true", "help": "leave out -merged, -other and -stuff at the end of class names"},
            ),
        ),
    ),
    "convert-label-studio": Format(
        line="convert Label Studio's JSON export (rectangles and relations)",
        text="""\
Converts pictures that were annotated with Label Studio: rectangles with classes, and relations with labels. EXPORT is
the project's export as JSON; other exports hold no relations. Turned rectangles and polygons become the box around
them, choices of a region become attributes. Prints how the arrows were read, and what was left out, with the reason.
docs/own-data.md shows the way from pictures to a trained model.
""",
        example="hml data convert-label-studio export.json datasets/mine --photos pictures",
        call="formats.label_studio:convert_label_studio",
        source=("EXPORT", "the exported JSON file"),
        options=(
            Option(
                "--photos",
                {"type": Path, "metavar": "DIR", "required": True, "help": "the pictures; subfolders are searched"},
            ),
            SKIP_MISSING,
            Option(
                "--test",
                {
                    "type": float,
                    "default": 0.2,
                    "metavar": "SHARE",
                    "help": "share of the images for testing, drawn at random (default: %(default)s)",
                },
            ),
            Option("--annotator", {"metavar": "WHO", "help": "use annotations of this person only: id or e-mail"}),
            Option(
                "--image-key",
                {"metavar": "KEY", "help": "key of a task's data that names the picture, if several could"},
            ),
        ),
    ),
    "convert-vrd": Format(
        line="convert the annotations of Visual Relationship Detection",
        text="""\
Converts the JSON annotations of Visual Relationship Detection (Lu et al. 2016). SRC holds annotations_train.json,
annotations_test.json, train_image_metadata.json, test_image_metadata.json, objects.json and predicates.json.
Without --photos, one placeholder picture per image is drawn from its boxes and labels. Dropped annotations are printed.
""",
        example="hml data convert-vrd json_dataset datasets/vrd --photos sg_dataset",
        call="vrd:convert_vrd",
        source=("SRC", "folder with VRD's JSON files"),
        options=(
            Option("--photos", {"type": Path, "metavar": "DIR", "help": "VRD's photographs; subfolders are searched"}),
            Option(
                "--max-side",
                {
                    "type": int,
                    "default": 320,
                    "metavar": "PIXELS",
                    "help": "longer side of a placeholder picture, in pixels (default: %(default)s); photographs keep"
                    " their size",
                },
            ),
        ),
    ),
}
