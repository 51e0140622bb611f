"""hml doctor on stand-in checkouts: one line per point, what to do, and the exit code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from maskrcnn_benchmark_hml import cli
from maskrcnn_benchmark_hml.host.doctor import machine_checks
from maskrcnn_benchmark_hml.host.doctor.data_checks import catalog_places, folder_places, three_causes
from maskrcnn_benchmark_hml.host.doctor.source import Absent, Source

from .stand_in import BUILD, CATALOG, PREDICTORS, RELATION_HEAD, SCRIPT, make_checkout


@pytest.fixture(autouse=True)
def no_data(monkeypatch):
    monkeypatch.delenv("HML_DATA", raising=False)


@pytest.fixture
def vg(tiny_vg, tmp_path):
    """A copy of the small dataset that a test may damage (pictures linked)."""
    folder = tmp_path / "vg"
    shutil.copytree(tiny_vg, folder, copy_function=shutil.copy)
    return folder


def doctor(capsys, *words) -> tuple[int, str]:
    code = cli.main(["doctor", *map(str, words)])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def flat(text: str) -> str:
    return " ".join(text.split())


def test_all_well(tmp_path, tiny_vg, capsys):
    root = make_checkout(tmp_path / "sgb")
    code, said = doctor(capsys, "--sgb", root, "--data", tiny_vg)
    assert code == 0 and said.endswith("\nHML will run\n") and "\nhook points\n" in said and "seam" not in said
    assert said.count("\n") > 25 and " breaks " not in said and "correct: 120 images, 50 predicates" in flat(said)
    # A path is not broken: how long it is depends on where the tests run.
    assert [line for line in said.splitlines()[2:] if len(line) > 118 and "/" not in line.split()[-1]] == []


def test_the_embedded_benchmark_is_well(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, said = doctor(capsys)
    assert code == 0 and said.startswith("the bundled benchmark\n") and "HML will run" in said


def test_limits_are_no_failure(tmp_path, tiny_vg, capsys):
    edit = (RELATION_HEAD, "self.samp_processor.gtbox", "self.samp_processor.half_copy(1), self.samp_processor.gtbox")
    root = make_checkout(tmp_path / "sgb", edit)
    code, said = doctor(capsys, "--sgb", root, "--data", tiny_vg)
    assert code == 0 and "HML will run, with limits: model: samplers" in said and "works in part" in said


def test_what_breaks_is_counted_and_named(tmp_path, tiny_vg, capsys):
    root = make_checkout(tmp_path / "sgb", (PREDICTORS, "return objects, relations, added", "return None, None, added"),
                         (SCRIPT, "build_detection_model", "build_model"))
    code, said = doctor(capsys, "--sgb", root, "--data", tiny_vg)
    assert code == 1
    assert "HML will not run: 2 to fix (script: names that HML replaces, model: predictor's output)" in said


def test_packages_of_the_fork(tmp_path, tiny_vg, capsys):
    root = make_checkout(tmp_path / "sgb", (SCRIPT, "import cfg\n", "import cfg\nimport no_such_a\n"))
    code, said = doctor(capsys, "--sgb", root, "--data", tiny_vg)
    assert code == 1 and f"{SCRIPT} imports it and it is not installed" in flat(said)


def test_no_checkout_is_bad_input(tmp_path, capsys):
    code, said = doctor(capsys, "--sgb", tmp_path)
    assert code == 2 and "is not a Scene-Graph-Benchmark checkout" in said and "did you mean" not in said
    below = make_checkout(tmp_path / "sg-benchmark")  # CogTree keeps it there
    assert f"did you mean {below}?" in doctor(capsys, "--sgb", tmp_path)[1]
    assert cli.main(["patch", "check", str(tmp_path)]) == 2 and f"did you mean {below}?" in capsys.readouterr().err


def test_the_host_is_neither_imported_nor_run(tmp_path, tiny_vg):
    root = make_checkout(tmp_path / "sgb", (SCRIPT, "import cfg\n", "import cfg\nraise SystemExit(7)\n"))
    code = (
        "import sys; from maskrcnn_benchmark_hml.cli import main\n"
        f"code = main(['doctor', '--sgb', {str(root)!r}, '--data', {str(tiny_vg)!r}])\n"
        "sys.exit('the host was imported' if 'maskrcnn_benchmark' in sys.modules else code)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=tmp_path)


# -- machine ----------------------------------------------------------------------------------------------------------


def machine(root):
    return {f.subject: f for f in machine_checks.check_machine(Source(root), embedded=False)}


def test_an_old_torch_breaks_and_a_missing_one_too(tmp_path, monkeypatch):
    root = make_checkout(tmp_path)
    versions = {"torch": "1.13.1+cu117"}

    def version(name):
        if name not in versions:
            raise machine_checks.importlib.metadata.PackageNotFoundError
        return versions[name]

    monkeypatch.setattr(machine_checks.importlib.metadata, "version", version)
    found = machine(root)
    assert found["torch"].state == "breaks" and "at least 2.1" in found["torch"].text
    assert found["torchvision"].state == "breaks" and "pip install torchvision" in found["torchvision"].text
    for versions["torch"], state in (("2.1.2+cu121", "handled"), ("2.5.1", "handled"), ("2.6.0", "ok"), ("3.0", "ok")):
        torch = machine(root)["torch"]
        needs_numpy_1 = versions["torch"].startswith("2.1") and np.__version__.startswith("2.")
        assert ("numpy" in machine(root)) == needs_numpy_1
        assert torch.state == state and ("even with weights_only=True" in torch.text) == (state == "handled")


def test_a_compiled_extension_of_this_python_counts(tmp_path):
    root = make_checkout(tmp_path)
    (root / "maskrcnn_benchmark" / "_C.cp36-win_amd64.pyd").touch()
    assert machine(root)["compiled extension"].state == "handled"
    suffix = machine_checks.importlib.machinery.EXTENSION_SUFFIXES[0]
    (root / "maskrcnn_benchmark" / f"_C{suffix}").touch()
    assert machine(root)["compiled extension"].state == "ok"


# -- data -------------------------------------------------------------------------------------------------------------


def test_the_catalogs_places(tmp_path):
    places = catalog_places(Source(make_checkout(tmp_path)))
    assert places == folder_places(tmp_path / "datasets" / "vg")


@pytest.mark.parametrize(
    "old, new", [("ROOT + ", "root() + "), ('"VG_stanford_filtered_with', '"ours'), ("class Dataset", "class ")]
)
def test_a_catalog_that_computes_its_paths(tmp_path, old, new):
    with pytest.raises(Absent):
        catalog_places(Source(make_checkout(tmp_path, (CATALOG, old, new))))


def test_paths_written_into_the_code(tmp_path, tiny_vg, capsys):
    edit = "def main():\n    open('datasets/vg/here.json'), open('datasets/gone.json')\n"
    root = make_checkout(tmp_path / "sgb", (SCRIPT, "def main():\n", edit))
    (root / "datasets" / "vg").mkdir(parents=True)
    (root / "datasets" / "vg" / "here.json").touch()
    code, said = doctor(capsys, "--sgb", root, "--data", tiny_vg)
    assert code == 0 and f"here.json; start the command in {root}" in flat(said)
    assert "gone.json do not exist; what opens them will fail" in flat(said)
    root = make_checkout(  # FGPL
        tmp_path / "other", (SCRIPT, "import make_data_loader", "import build, make_data_loader"),
        (BUILD, "    return []", "    return ['/home/author/vg/image_data.json']"))
    code, said = doctor(capsys, "--sgb", root, "--data", tiny_vg)
    assert code == 1 and "1 to fix (data: paths written in)" in flat(said)


def test_no_data_says_where_it_looked(tmp_path, capsys):
    root = make_checkout(tmp_path / "sgb")
    code, said = doctor(capsys, "--sgb", root)
    assert code == 1 and f"{root}/datasets/vg/VG-SGG-with-attri.h5 does not exist; give --data DIR" in flat(said)
    code, said = doctor(capsys, "--sgb", root, "--data", tmp_path / "nowhere")
    assert code == 1 and "nowhere/VG-SGG-with-attri.h5 does not exist; docs/data.md" in flat(said)


def test_data_in_the_checkout(tmp_path, tiny_vg, capsys):
    root = make_checkout(tmp_path / "sgb")
    (root / "datasets").mkdir()
    (root / "datasets" / "vg").symlink_to(tiny_vg)
    code, said = doctor(capsys, "--sgb", root)
    assert code == 0 and said.count("108073: ") == 3


def causes(vg):
    return {f.subject.partition(": ")[2]: f for f in three_causes(folder_places(vg)) if f.state != "ok"}


def test_sound_data_has_none_of_the_three(vg):
    assert causes(vg) == {}


def test_pictures_missing(vg):
    gone = sorted((vg / "VG_100K").glob("*.jpg"))[3:5]
    for path in gone:
        path.unlink()
    found = causes(vg)
    assert list(found) == ["pictures present"] and f"2 of 120 pictures are missing; the first is {gone[0].name}" in (
        found["pictures present"].text)


@pytest.mark.parametrize("second", ["VG_100K_2", "VG_100K/VG_100K_2", "VG_100K/VG_100K", "images2/VG_100K_2"])
def test_two_folders_not_merged(vg, second):
    (vg / second).mkdir(parents=True)
    for path in sorted((vg / "VG_100K").glob("*.jpg"))[:40]:
        path.rename(vg / second / path.name)
    found = causes(vg)
    assert list(found) == ["two folders merged"]
    assert f"40 of the 40 pictures missing from {vg}/VG_100K are in {vg}/{second}; move or link" in (
        found["two folders merged"].text)


def test_another_image_data(vg, tmp_path, capsys):
    path = vg / "image_data.json"
    path.write_text(json.dumps(json.loads(path.read_text())[:-3]))
    found = causes(vg)
    assert list(found) == ["image_data.json"] and "lists 117 images, the annotations cover 120" in (
        found["image_data.json"].text)
    code, said = doctor(capsys, "--sgb", make_checkout(tmp_path / "sgb"), "--data", vg)
    assert code == 1 and "2 to fix (108073: image_data.json, dataset folder)" in flat(said)


def test_files_that_cannot_be_read(vg):
    (vg / "image_data.json").write_text("[{")
    assert "image_data.json is cut short" in causes(vg)["files"].text
