"""One table: what is the matter with a file of a dataset folder x the command that meets it, and the sentence it gives.

``python tests/test_file_faults.py`` prints the table.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import PIL.Image
import pytest
from torch.utils.data import DataLoader, Dataset

from maskrcnn_benchmark_hml.cli import main
from maskrcnn_benchmark_hml.compat.visual_genome import dataset_other_than_vg
from maskrcnn_benchmark_hml.datasets.format import (
    DICTS_NAME,
    H5_NAME,
    IMAGES_NAME,
    PHOTOS_NAME,
    TEST,
    TRAIN,
    VALIDATION,
    ImageRecord,
    Vocabulary,
    write_vg,
)
from maskrcnn_benchmark_hml.datasets.pictures import open_picture
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.host.doctor.data_checks import folder_places, three_causes
from maskrcnn_benchmark_hml.resources import embedded_root

SPLITS = (TRAIN, TRAIN, TRAIN, TRAIN, TEST, TEST)


def write_dataset(folder: Path, splits=SPLITS) -> Path:
    """Six images with ids 1 to 6; the class names are not ASCII."""
    (folder / PHOTOS_NAME).mkdir(parents=True)
    records = []
    for image_id, split in enumerate(splits, 1):
        boxes = np.array([[0, 0, 30, 30], [10, 5, 50, 40]], dtype=float)
        records.append(ImageRecord(image_id, 64, 48, split, boxes, np.array([1, 2]), np.array([[0, 1, 1]])))
        pixels = np.random.default_rng(image_id).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(folder / PHOTOS_NAME / f"{image_id}.jpg")
    write_vg(folder, records, Vocabulary(("男人", "马"), ("on", "near"), ("red",)), num_val_images=1)
    return folder


# ---- what is the matter: each changes a fresh folder ----


def rewrite(name, change):
    def spoil(folder):
        path = folder / name
        path.write_bytes(change(path.read_bytes()))

    return spoil


def encoded(name, encoding):
    def change(content):
        return json.dumps(json.loads(content), ensure_ascii=False).encode(encoding)

    return rewrite(name, change)


def pictures_as(ending, content=True):
    def spoil(folder):
        for path in sorted((folder / PHOTOS_NAME).iterdir()):
            new = path.with_suffix(ending)
            if content:
                PIL.Image.open(path).save(new)
                path.unlink()
            else:
                path.rename(new)

    return spoil


def become(name, kind):
    def spoil(folder):
        (folder / name).unlink()
        kind(folder / name)

    return spoil


def gz(content):
    import gzip

    return gzip.compress(content)


def zipped(path):
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("VG-SGG-with-attri.h5", b"\x89HDF\r\n\x1a\n")


OPEN_ELSEWHERE, READ = "open in a notebook", None
NOTEBOOK = "is open for writing in another program, e.g. a notebook: close it there"
PHOTO = f"{PHOTOS_NAME}/1.jpg"
# matter -> (what makes it, what every command that reads the file says; READ: it is read as if nothing was the matter)
FAULTS = {
    "h5: open in a notebook": (OPEN_ELSEWHERE, NOTEBOOK),
    "h5: cut short": (rewrite(H5_NAME, lambda b: b[:4000]), "is cut short (holds 4000 of "),
    "h5: empty": (rewrite(H5_NAME, lambda b: b""), "is empty (0 bytes)"),
    "h5: gzip around it": (rewrite(H5_NAME, gz), "is a gzip file (in it: an HDF5 file), not an HDF5 file; unpack it"),
    "h5: zip around it": (become(H5_NAME, zipped), "is a zip archive (in it: VG-SGG-with-attri.h5), not an HDF5 file"),
    "h5: a web page": (rewrite(H5_NAME, lambda b: b"<!doctype html><html>"), "is an HTML page"),
    "h5: a git-lfs pointer": (
        rewrite(H5_NAME, lambda b: b"version https://git-lfs.github.com/spec/v1\n"),
        "git lfs pull",
    ),
    "names: byte-order mark": (encoded(DICTS_NAME, "utf-8-sig"), READ),
    "names: UTF-16": (encoded(DICTS_NAME, "utf-16"), READ),
    "names: GBK": (encoded(DICTS_NAME, "gbk"), "is text in GBK, not in UTF-8; save it as UTF-8 (iconv -f GBK"),
    "names: cut short": (rewrite(DICTS_NAME, lambda b: b[:60]), "is cut short (does not end with a closing bracket)"),
    "names: two commas": (rewrite(DICTS_NAME, lambda b: b.replace(b", ", b",, ", 1)), "is not valid JSON at line 1"),
    "images: byte-order mark": (encoded(IMAGES_NAME, "utf-8-sig"), READ),
    "images: cut short": (rewrite(IMAGES_NAME, lambda b: b[:60]), "is cut short (does not end with a closing bracket)"),
    "pictures: .png": (pictures_as(".png"), READ),
    "pictures: .webp": (pictures_as(".webp"), READ),
    "pictures: .JPG": (pictures_as(".JPG", content=False), READ),
    "pictures: .jpeg": (pictures_as(".jpeg", content=False), READ),
    "pictures: .heic": (pictures_as(".heic", content=False), "has 1.heic instead, which is not read: convert"),
    "pictures: one missing": (lambda folder: (folder / PHOTO).unlink(), f"{PHOTO} is missing"),
    "picture: cut short": (rewrite(PHOTO, lambda b: b[:500]), "1.jpg is cut short"),
    "picture: a web page": (rewrite(PHOTO, lambda b: b"<html>not found</html>"), "is an HTML page"),
    "picture: no picture": (rewrite(PHOTO, lambda b: b"%PDF-1.4"), "is a PDF file, not a picture"),
}  # fmt: skip
NEVER = ("damaged", "ownload it again", "etch it again", "etch the file again")


# ---- the commands: each returns the sentence, "" if the folder was read ----


def cli(*arguments):
    """Of ``hml ARGUMENTS``, whose sentence is its last line on stderr."""

    def command(folder: Path) -> str:
        import contextlib
        import io

        told = io.StringIO()
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
            code = main([a.replace("DIR", str(folder)) for a in arguments])
        lines = told.getvalue().strip().splitlines()
        return "" if code == 0 else lines[-1].removeprefix("hml: error: ")

    return command


def doctor(folder: Path) -> str:
    findings = [f for f in three_causes(folder_places(folder)) if f.state == "breaks"]
    return findings[0].text if findings else ""


def paths(folder: Path) -> dict[str, str]:
    names = {"img_dir": PHOTOS_NAME, "roidb_file": H5_NAME, "dict_file": DICTS_NAME, "image_file": IMAGES_NAME}
    return {key: str(folder / name) for key, name in names.items()}


def host_module() -> SimpleNamespace:
    """A module that opens its files as SGB's data/datasets/visual_genome.py does, patched as ``hml run`` patches it."""

    def load_image_filenames(img_dir, image_file):
        names, entries = [], module.json.load(open(image_file))
        assert len(names) == 108073
        return names, entries

    class VGDataset:
        def __init__(self, split, img_dir, roidb_file, dict_file, image_file, num_val_im=5000):
            self.names = module.json.load(open(dict_file))["label_to_idx"]
            flags = h5py.File(roidb_file, "r")["split"][:]
            chosen = np.flatnonzero(flags == (2 if split == "test" else 0))
            self.split_mask = np.zeros(len(flags), dtype=bool)
            self.split_mask[chosen[:num_val_im] if split == "val" else chosen] = True
            self.filenames, _ = module.load_image_filenames(img_dir, image_file)

        def __getitem__(self, index):
            return module.Image.open(self.filenames[index]).convert("RGB")

    module = SimpleNamespace(json=json, Image=PIL.Image, load_image_filenames=load_image_filenames, VGDataset=VGDataset)
    dataset_other_than_vg(module)
    return module


def on_sgb(folder: Path) -> str:
    try:
        dataset = host_module().VGDataset("train", **paths(folder))
        assert "男人" in dataset.names and dataset[0].size == (64, 48)
    except HMLError as error:
        return str(error)
    return ""


_BUNDLED = """
import json, sys
from maskrcnn_benchmark.data.datasets import VGDataset
from maskrcnn_benchmark_hml.errors import HMLError
for line in sys.stdin:
    try:
        dataset = VGDataset("train", **json.loads(line), num_val_im=0)
        assert "男人" in dataset.ind_to_classes and dataset[0][0].size == (64, 48)
        print(json.dumps(""), flush=True)
    except HMLError as error:
        print(json.dumps(str(error)), flush=True)
"""


class Bundled:
    """The bundled benchmark in a process of its own: here its name would stand in the way of other tests."""

    def __enter__(self):
        root = Path(__file__).resolve().parents[1]
        path = os.pathsep.join((str(embedded_root()), str(root), os.environ.get("PYTHONPATH", "")))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _BUNDLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        return self

    def __exit__(self, *_):
        # Not by closing its input: a forked loader worker of another test may hold that pipe open as well.
        self.process.terminate()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def __call__(self, folder: Path) -> str:
        self.process.stdin.write(json.dumps(paths(folder)) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


COMMANDS = {
    "hml data check --pictures": cli("data", "check", "--pictures", "DIR"),
    "hml tree": cli("tree", "--data", "DIR", "--builder", "frequency", "--boundaries", "1"),
    "hml doctor": doctor,
    "hml run, on SGB": on_sgb,
}
# What a command does not open: it cannot say anything about it.
NOT_READ = {"hml tree": ("images", "picture"), "hml doctor": ("names", "picture:")}
_HOLD = "import h5py, sys; f = h5py.File(sys.argv[1], 'a'); print(flush=True); sys.stdin.read()"


def sentences(matter: str, folder: Path, bundled) -> dict[str, str]:
    """What each command says of a fresh folder with this matter."""
    write_dataset(folder)
    spoil = FAULTS[matter][0]
    commands = {**COMMANDS, "hml run, bundled": bundled}
    if spoil is not OPEN_ELSEWHERE:
        spoil(folder)
        return {name: command(folder) for name, command in commands.items()}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", _HOLD, str(folder / H5_NAME)], **pipes) as holder:
        holder.stdout.readline()
        said = {name: command(folder) for name, command in commands.items()}
        holder.stdin.close()
    return said


@pytest.fixture(scope="module")
def bundled():
    with Bundled() as process:
        yield process


@pytest.mark.parametrize("matter", FAULTS)
def test_every_command_tells_what_is_the_matter(matter, tmp_path, bundled):
    expected = FAULTS[matter][1]
    for command, said in sentences(matter, tmp_path / "d", bundled).items():
        blind = matter.startswith(NOT_READ.get(command, ()))
        if expected is READ or blind:
            assert said == "", (command, said)
        elif command == "hml doctor" and matter.startswith("pictures:"):
            assert "1.jpg" in said and ("heic" not in matter or "1.heic is there" in said), (command, said)
        else:
            assert expected in said and not any(word in said for word in NEVER), (command, said)


def test_images_with_split_1_validate_or_are_said_to_be_unused(tmp_path, caplog, capsys):
    folder = write_dataset(tmp_path / "d", (TRAIN, TRAIN, VALIDATION, TRAIN, VALIDATION, TEST))
    assert main(["data", "check", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "validation: the 2 images with split 1" in said and re.search(r"^images +3 +2 +1$", said, re.M)
    host_module().VGDataset("train", **paths(folder))
    assert "split 1" not in caplog.text
    host_module().VGDataset("val", **paths(folder))
    assert (
        "2 images of" in caplog.text and "have split 1" in caplog.text and "the first 1 training images" in caplog.text
    )


def test_a_picture_that_a_loader_worker_cannot_read_is_one_sentence(tmp_path):
    class Pictures(Dataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return open_picture(tmp_path / "1.jpg")

    (tmp_path / "1.jpg").write_bytes(b"%PDF-1.4")
    with pytest.raises(HMLError) as caught:
        next(iter(DataLoader(Pictures(), num_workers=1)))
    assert str(caught.value) == f"the picture {tmp_path}/1.jpg is a PDF file, not a picture; name the right file"


def table() -> None:
    """Print the table in Markdown."""
    with Bundled() as process, tempfile.TemporaryDirectory() as work:
        for number, matter in enumerate(FAULTS):
            folder = Path(work) / str(number)
            said = sentences(matter, folder, process)
            groups: dict[str, list[str]] = {}
            for command, sentence in said.items():
                groups.setdefault(sentence.replace(str(folder), "DIR") or "(read)", []).append(command)
            for sentence, commands in groups.items():
                print(f"| {matter} | {', '.join(commands)} | {sentence} |")


if __name__ == "__main__":
    table()
