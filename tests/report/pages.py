"""What a page is checked with: its elements, and folders of runs with settings, curves and logit adjustment."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import yaml

VOID = {"meta", "link", "img", "br", "hr", "input"}
#: Of SVG; they close themselves here.
SHAPES = {"path", "circle"}


@dataclass
class Element:
    """An element with its attributes, its elements and its text, that of its elements included."""

    tag: str
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def all(self, tag: str) -> list[Element]:
        found = [self] if self.tag == tag else []
        return found + [one for child in self.children for one in child.all(tag)]

    def everything(self) -> list[Element]:
        return [self, *(one for child in self.children for one in child.everything())]


class Reader(HTMLParser):
    """Builds the tree of a page; an end tag that closes another element than the last open one is an error."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("root", {})
        self.open = [self.root]

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"an attribute of {tag} stands twice: {names}"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        assert tag in SHAPES, tag
        self.open[-1].children.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element.text += data


def parsed(text: str) -> Element:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == [reader.root], f"not closed: {[one.tag for one in reader.open]}"
    return reader.root


def by_id(root: Element, name: str) -> Element:
    (found,) = (one for one in root.everything() if one.attributes.get("id") == name)
    return found


def rows(root: Element, name: str) -> list[list[str]]:
    """The cells of a table, the headings first."""
    cells = [[c.text.strip() for c in row.children] for row in by_id(root, name).all("tr")]
    assert len({len(row) for row in cells}) == 1
    return cells


def add_settings(run: Path, **settings) -> None:
    """A config.yml; ``HML={...}`` is a section."""
    (run / "config.yml").write_text(yaml.safe_dump({"OUTPUT_DIR": str(run), "DTYPE": "float32", **settings}))


def add_curves(run: Path, stages: tuple[int, ...], terms: tuple[str, ...] = ("loss_rel",)) -> None:
    """A metrics.jsonl with a line every second iteration and two validations in each stage."""
    lines = []
    for stage, length in enumerate(stages, 1):
        place = {"stage": stage, "stages": len(stages)}
        for iteration in range(2, length + 1, 2):
            losses = {term: round((at + 1) / iteration, 4) for at, term in enumerate(terms)}
            lines.append({**place, "iteration": iteration, "loss": sum(losses.values()), "terms": losses, "lr": 0.1,
                          "seconds": 0.25, "memory_mb": 1000 + stage})  # fmt: skip
            if iteration % (length // 2) == 0:
                share = 0.25 * stage * iteration / length
                lines.append({**place, "iteration": iteration, "validation": {"metric": "R@100", "value": share}})
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def add_adjusted(run: Path, taus: tuple[float, ...]) -> None:
    """Results of logit adjustment: less R and more mR with each tau."""
    (results,) = run.glob("inference/*")
    content = json.loads((results / "metrics.json").read_text())
    for number, tau in enumerate(taus, 1):
        folder = results / f"tau_{tau:g}"
        folder.mkdir()
        changed = {"R@50": content["R@50"] - 0.01 * number, "mR@50": content["mR@50"] + 0.01 * number}
        (folder / "metrics.json").write_text(json.dumps({**content, **changed}))


def many(first: Path, count: int) -> list[Path]:
    """Copies of a run, beside it."""
    made = [first]
    for number in range(1, count):
        made.append(first.with_name(f"{first.name}-{number:02}"))
        shutil.copytree(first, made[-1])
    return made
