"""files.py writes every final file; nothing else in the package renames, or opens a file for writing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.files import remove_left_over, save_torch, write_json, write_text, written_aside

PACKAGE = Path(__file__).resolve().parents[1] / "maskrcnn_benchmark_hml"
MOVES = {"os.replace", "os.rename", "os.renames", "shutil.move"}
#: Methods that write to a path, whatever object they belong to; -> where the path stands among the arguments.
WRITES = {"write_text": None, "write_bytes": None, "savefig": 0, "torch.save": 1, "np.savez": 0,
          "np.savez_compressed": 0, "np.save": 0, "picture.save": 0, "json.dump": 1}
#: File and what it does -> why it may.
ALLOWED = {
    ("datasets/layout.py", "os.replace"): "swaps whole dataset folders",
    ("datasets/vrd.py", "picture.save"): "a picture in a dataset folder that takes its name when it is whole",
    ("datasets/formats/photos.py", "save"): "the same, encoded again",
    ("datasets/mini_vg.py", "picture.save"): "the same, drawn",
    ("datasets/clean.py", "h5py.File"): "the annotations in such a folder",
    ("datasets/subset.py", "h5py.File"): "the same",
    ("embedded/maskrcnn_benchmark/engine/progress.py", "open"): "lines of progress, appended for the pool of runs",
    ("experiments/process.py", "open"): "a log, to which every start appends",
}


def name_of(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}".lstrip(".")
    return node.id if isinstance(node, ast.Name) else ""


def argument(call: ast.Call, position: int, keyword: str) -> ast.AST | None:
    if len(call.args) > position:
        return call.args[position]
    return next((k.value for k in call.keywords if k.arg == keyword), None)


def for_writing(call: ast.Call, name: str) -> bool:
    """Whether ``open(path, mode)``, ``h5py.File(path, mode)`` or ``path.open(mode)`` writes."""
    mode = argument(call, 0 if name.endswith(".open") else 1, "mode")
    text = mode.value if isinstance(mode, ast.Constant) and isinstance(mode.value, str) else ""
    return any(letter in text for letter in "wax+")


def aside_names(tree: ast.AST) -> set[str]:
    """Names that stand for a path, or an open file, of ``written_aside``."""
    found: set[str] = set()
    for node in ast.walk(tree):
        for item in node.items if isinstance(node, ast.With) else ():
            called = item.context_expr
            name = name_of(called.func) if isinstance(called, ast.Call) else ""
            if name == "written_aside" or name.split(".")[0] in found:
                found |= {item.optional_vars.id} if isinstance(item.optional_vars, ast.Name) else set()
    return found


def writings(source: str) -> Iterator[str]:
    """What a module does that only files.py may: the names of the calls."""
    tree = ast.parse(source)
    asides = aside_names(tree)
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = name_of(call.func)
        last = name.rpartition(".")[2] or getattr(call.func, "attr", "")
        if name in MOVES or last == "rename" or (last == "replace" and len(call.args) == 1 and not call.keywords):
            yield name
        elif last in ("open", "File") and for_writing(call, name):
            first = name.split(".")[0] if name.endswith(".open") else name_of(call.args[0])
            if first not in asides:
                yield name
        elif name in WRITES or last in ("write_text", "write_bytes", "savefig"):
            place = WRITES.get(name, WRITES.get(last))
            target = name_of(call.func).split(".")[0] if place is None else name_of(call.args[place])
            imported = isinstance(call.func, ast.Name)  # files.write_text(path, text)
            if target not in asides and not imported and not name.startswith("files."):
                yield name
        elif last == "save" and isinstance(getattr(call.func, "value", None), ast.Call):
            if name_of(call.func.value.func) != "super":  # picture.convert("RGB").save(path)
                yield last


def test_only_files_writes():
    found = {(path.relative_to(PACKAGE).as_posix(), name)
             for path in PACKAGE.rglob("*.py") if path != PACKAGE / "files.py"
             for name in writings(path.read_text("utf-8"))}
    assert found == set(ALLOWED)


@pytest.mark.parametrize("source", [
    "os.replace(a, b)", "Path(a).rename(b)", "aside.replace(b)", "open(p, 'w')", "open(p, mode='ab')", "p.open('wb')",
    "p.write_text(t)", "(folder / 'x').write_bytes(t)", "torch.save(c, p)", "h5py.File(p, 'w')", "shutil.move(a, b)",
    "with p.open('w') as f:\n json.dump(c, f)",
])
def test_what_the_reader_notices(source):
    assert list(writings(source))


@pytest.mark.parametrize("source", [
    "with written_aside(p) as a, a.open('wb') as f:\n torch.save(c, f)", "open(p)", "s.replace('a', 'b')",
    "with written_aside(p) as a:\n a.write_text(t)", "files.write_text(p, t)", "write_text(p, t)", "h5py.File(p, 'r')",
])
def test_what_the_reader_lets_pass(source):
    assert not list(writings(source))


def test_a_file_is_whole_or_absent(tmp_path):
    write_json(tmp_path / "new" / "a.json", {"a": 1})
    assert (tmp_path / "new" / "a.json").read_text() == '{"a": 1}\n'
    for failure in (KeyboardInterrupt, ValueError):
        with pytest.raises(failure), written_aside(tmp_path / "new" / "a.json") as aside:
            aside.write_text("half")
            raise failure
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.json"]
    with pytest.raises(HMLError, match="the table .* cannot be written"):
        write_text(tmp_path / "new" / "a.json" / "b", "", "table")


def test_bytes_of_a_torch_file_do_not_depend_on_its_name(tmp_path):
    save_torch([1], tmp_path / "a.pt")
    save_torch([1], tmp_path / "b.pth")
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pth").read_bytes()


def test_left_overs_of_a_killed_process_go(tmp_path):
    for name in (".a.pt.999999999.part", ".a.pt.1.part", ".ab.pt.999999999.part"):
        (tmp_path / name).touch()
    remove_left_over(tmp_path / "a.pt")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".a.pt.1.part", ".ab.pt.999999999.part"]
