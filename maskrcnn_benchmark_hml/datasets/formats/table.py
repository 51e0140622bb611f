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
