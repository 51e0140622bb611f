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


def _names(kind: str, what: str, number: int) -> Option:
    """The option that selects a vocabulary."""
    text = f"how many {what}, the most frequent ones, or a file of names: one a line, or JSON (default: %(default)s)"
    return Option(f"--{kind}", {"default": str(number), "metavar": "N|FILE", "help": text})


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
    "convert-vg": Format(
        line="convert Visual Genome's raw annotations to a split like VG150",
        text="""\
Converts Visual Genome's own annotations: SRC holds objects.json, relationships.json and image_data.json. Names are
written in lower case without punctuation, replaced by aliases, and selected by frequency or from a file. An object that
only relationships.json has is added; where the files give an object different boxes, that of objects.json counts.
Everything dropped, merged or replaced is printed as a count with its reason.

VG150 was made with the options of the example. Its alias files have lines `name,alias,alias`; the first word of a line
replaces the others.
""",
        example="hml data convert-vg vg_raw datasets/vg_mine --object-aliases object_alias.txt --predicate-aliases "
        "predicate_alias.txt --min-area 0.002 --merge-same",
        call="formats.vg:convert_vg",
        source=("SRC", "folder with objects.json, relationships.json and image_data.json"),
        options=(
            PHOTOS,
            SKIP_MISSING,
            _names("objects", "object classes", 150),
            _names("predicates", "predicates", 50),
            Option("--object-aliases", {
                "type": Path, "metavar": "FILE", "help": "lines `name,alias,alias` for object classes"}),
            Option("--predicate-aliases", {"type": Path, "metavar": "FILE", "help": "the same for predicates"}),
            Option("--min-area", {
                "type": float, "default": 0.0, "metavar": "SHARE",
                "help": "drop boxes of at most this share of the picture's area (default: %(default)s; VG150: 0.002)"}),
            Option("--merge-same", {
                "action": "store_true",
                "help": "merge boxes of the same object: nearly the same box, or the same name and one inside the "
                        "other or much overlap (default: keep them)"}),
            Option("--test", {
                "type": float, "default": 0.3, "metavar": "SHARE",
                "help": "share of the images for testing, the last ones of image_data.json (default: %(default)s)"}),
        ),  # fmt: skip
    ),
    "convert-gqa": Format(
        line="convert GQA's scene graphs",
        text="""\
Converts GQA's scene graphs: SRC holds train_sceneGraphs.json, which is the training split, and val_sceneGraphs.json,
which is the test split (GQA's own test images have no scene graphs). Classes, predicates and attributes are the most
frequent ones of both files, or those of a file. GQA-200, whose names were chosen by hand, is had with its names:
--objects GQA_200_ID_Info.json --predicates GQA_200_ID_Info.json.
""",
        example="hml data convert-gqa gqa datasets/gqa --photos gqa/images",
        call="formats.gqa:convert_gqa",
        source=("SRC", "folder with train_sceneGraphs.json and val_sceneGraphs.json"),
        options=(
            PHOTOS,
            SKIP_MISSING,
            _names("objects", "object classes", 200),
            _names("predicates", "predicates", 100),
            _names("attributes", "attributes", 200),
            Option("--keep-left-right", {
                "action": "store_true",
                "help": "keep `to the left of` and `to the right of`, which were computed from the boxes and are about "
                        "half of all relations (default: drop them)"}),
        ),  # fmt: skip
    ),
    "convert-openimages": Format(
        line="convert Open Images' visual relationships",
        text="""\
Converts Open Images' csv files of visual relationships (challenge 2018 and 2019, V6): SRC holds files with `vrd` and
`train`, `validation` or `test` in their names, and files with `description` or `classes` in their names, which give the
names of the ids. Rows with the relation `is` become attributes of the object. Without a test file the validation file
is for testing. Boxes are shares of the picture's sides: give the pictures, or their sizes.
""",
        example="hml data convert-openimages openimages datasets/openimages --photos openimages/pictures",
        call="formats.openimages:convert_openimages",
        source=("SRC", "folder with the csv files"),
        options=(
            PHOTOS,
            SKIP_MISSING,
            Option("--sizes", {
                "type": Path, "metavar": "FILE",
                "help": "csv file with the columns ImageID, Width, Height in pixels; needed without --photos"}),
            Option("--boxes", {
                "action": "store_true",
                "help": "also take the objects that are in no relation, from files with `bbox` in their names"}),
            Option("--group-of", {
                "action": "store_true",
                "help": "with --boxes: also boxes around a group of objects (IsGroupOf; default: drop them)"}),
            Option("--attribute-images", {
                "action": "store_true",
                "help": "keep images that have only attributes, no relation (default: drop them)"}),
        ),  # fmt: skip
    ),
}
