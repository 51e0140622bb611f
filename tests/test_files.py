"""files.py: what a file is, and why it cannot be read, one row per case."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import json
import lzma
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from maskrcnn_benchmark_hml.files import describe_format, why_unreadable


def of(write, *args, **kwargs) -> bytes:
    buffer = io.BytesIO()
    write(buffer, *args, **kwargs)
    return buffer.getvalue()


def h5(libver="earliest", **kwargs) -> bytes:
    def write(buffer):
        with h5py.File(buffer, "w", libver=libver, **kwargs) as file:
            file["boxes"] = np.arange(4000)

    return of(write)


def zipped(**members) -> bytes:
    def write(buffer):
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in members.items():
                archive.writestr(name.replace("__", "."), content)

    return of(write)


def tarred(name: str, content: bytes) -> bytes:
    def write(buffer):
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))

    return of(write)


def picture(kind: str) -> bytes:
    colours = np.random.default_rng(0).integers(0, 255, (40, 30, 3), dtype=np.uint8)
    return of(Image.fromarray(colours).save, kind)


NAMES = json.dumps({"label_to_idx": {"man": 1, "horse": 2}, "predicates": {"on": 1}})
CHINESE = json.dumps({"label_to_idx": {"男人": 1, "马": 2, "自行车": 3}}, ensure_ascii=False)
FRENCH = json.dumps({"label_to_idx": {"fenêtre": 1, "forêt": 2, "cheval": 3}}, ensure_ascii=False)
SAFE = len(b'{"a":1}').to_bytes(8, "little") + b'{"a":1}' + bytes(64)
STATE = {"weight": torch.arange(2000.0)}
TORCH = of(lambda buffer: torch.save(STATE, buffer))
FORMATS = [
    (h5(), "an HDF5 file"),
    (h5("latest"), "an HDF5 file"),
    (h5(userblock_size=1024), "an HDF5 file"),
    (zipped(a__h5=b"x"), "a zip archive"),
    (TORCH, "a torch file"),
    (
        of(lambda b: torch.save(STATE, b, _use_new_zipfile_serialization=False)),
        "a torch file of the format before torch 1.6",
    ),
    (of(np.savez, a=np.arange(3)), "a numpy .npz archive"),
    (of(np.save, np.arange(3)), "a numpy .npy file"),
    (pickle.dumps({"a": 1}), "a pickle file"),
    (SAFE, "a safetensors file"),
    (gzip.compress(b"x"), "a gzip file"),
    (bz2.compress(b"x"), "a bzip2 file"),
    (lzma.compress(b"x"), "an xz file"),
    (b"7z\xbc\xaf\x27\x1c\x00\x04", "a 7z archive"),
    (tarred("a.h5", b"x"), "a tar archive"),
    (picture("PNG"), "a PNG picture"),
    (picture("JPEG"), "a JPEG picture"),
    (picture("WEBP"), "a WebP picture"),
    (picture("GIF"), "a GIF picture"),
    (picture("BMP"), "a BMP picture"),
    (picture("TIFF"), "a TIFF picture"),
    (b"%PDF-1.7\n", "a PDF file"),
    (b"\n<!DOCTYPE html><html>", "an HTML page"),
    (b"<?xml version='1.0'?><a/>", "an XML file"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a git-lfs pointer"),
    (NAMES.encode(), "JSON text"),
    (b'[{\n  "image_id": 1}]', "JSON text"),
    (NAMES.encode("utf-8-sig"), "JSON text in UTF-8 with a byte-order mark"),
    (NAMES.encode("utf-16"), "JSON text in UTF-16"),
    (NAMES.encode("utf-16-le"), "JSON text in UTF-16-LE"),
    (NAMES.encode("utf-32"), "JSON text in UTF-32"),
    (CHINESE.encode(), "JSON text"),
    (CHINESE.encode("gbk"), "JSON text in GBK"),
    (FRENCH.encode("cp1252"), "JSON text in Windows-1252"),
    ("the 0.1 0.2\nfenêtre 0.3 0.4\n".encode(), "a text file"),
    (b"", "an empty file"),
    (bytes(5000), "a file of zero bytes only"),
    (b"\x01\x02\x03\x04\xff", "a file of an unknown format"),
]


@pytest.mark.parametrize(("content", "name"), FORMATS, ids=[f"{i}-{name[:30]}" for i, (_, name) in enumerate(FORMATS)])
def test_a_format_is_told_from_the_content(tmp_path, content, name):
    (tmp_path / "f").write_bytes(content)
    assert describe_format(tmp_path / "f") == name


SIGNATURE = OSError("Unable to open file (file signature not found)")
NO_UTF8 = UnicodeDecodeError("utf-8", b"x", 0, 1, "invalid start byte")
H5 = "an HDF5 file"
LOCKED = OSError("Unable to synchronously open file (unable to lock file, errno = 11, error message = 'Resource')")
NO_LOCK = OSError(errno.ENOLCK, "unable to lock file, errno = 37, error message = 'No locks available'")
MARKED = OSError("file is already open for write (may use <h5clear file> to clear file consistency flags)")
REASONS = [
    # content, error, what is wanted, what the sentence must say, what it must not
    (h5(), LOCKED, H5, "open for writing in another program, e.g. a notebook: close it there", "again;"),
    (h5(), NO_LOCK, H5, "HDF5_USE_FILE_LOCKING=FALSE", "another program"),
    (h5(), MARKED, H5, "h5clear -s", "cut short"),
    (h5(), PermissionError(errno.EACCES, "Permission denied"), H5, "no permission", "cut short"),
    (h5(), OSError(errno.EMFILE, "Too many open files"), H5, "ulimit -n", "cut short"),
    (h5(), OSError(errno.EIO, "Input/output error"), H5, "input/output error", "copy it again"),
    (h5()[:3000], OSError("truncated file"), H5, "cut short (holds 3000 of ", "cannot be read"),
    (h5("latest")[:3000], OSError("truncated file"), H5, "cut short (holds 3000 of ", "cannot be read"),
    (h5(), KeyError("boxes"), H5, "its content cannot be read", "cut short"),
    (gzip.compress(h5()), SIGNATURE, H5, "(in it: an HDF5 file), not an HDF5 file; unpack it (gunzip", "cut"),
    (zipped(VG__h5=h5()), SIGNATURE, H5, "(in it: VG.h5), not an HDF5 file; unpack it (unzip", "cut"),
    (tarred("VG.h5", h5()), SIGNATURE, H5, "(in it: VG.h5), not an HDF5 file; unpack it (tar", "cut"),
    (b"<html><title>Sign in", SIGNATURE, H5, "HTML page", "cut short"),
    (b"version https://git-lfs.github.com/spec/v1\n", SIGNATURE, H5, "git lfs pull", "cut short"),
    (NAMES.encode(), SIGNATURE, H5, "is JSON text, not an HDF5 file; name the right", "cut"),
    (b"", SIGNATURE, H5, "is empty (0 bytes)", "name the right"),
    (bytes(9999), SIGNATURE, H5, "zero bytes only", "name the right"),
    (NAMES.encode()[:30], json.JSONDecodeError("Expecting", "x", 0), "a JSON file", "cut short", "correct it"),
    (
        NAMES.replace(":", ";", 1).encode(),
        json.JSONDecodeError("Expecting ':'", "x\ny", 3),
        "a JSON file",
        "line 2 column 2",
        "cut",
    ),
    (CHINESE.encode("gbk"), NO_UTF8, "a JSON file", "is text in GBK, not in UTF-8", "cut"),
    (h5(), NO_UTF8, "a JSON file", "is an HDF5 file, not a JSON file", "cut short"),
    (picture("JPEG")[:-300], OSError("image file is truncated (9 bytes)"), "a picture", "cut short", "name the right"),
    (picture("PNG")[:-300], OSError("broken"), "a picture", "cut short (lacks its end mark)", "name the right"),
    (picture("WEBP")[:-300], OSError("broken"), "a picture", "cut short (holds", "name the right"),
    (h5(), OSError("cannot identify image file"), "a picture", "is an HDF5 file, not a picture", "cut short"),
    (
        TORCH[:-900],
        RuntimeError("failed finding central directory"),
        "a checkpoint",
        "cut short (lacks the directory",
        "name the right",
    ),
    (TORCH, RuntimeError("weights only"), "a checkpoint", "its content cannot be read", "cut short"),
    (pickle.dumps(list(range(9)))[:-3], EOFError("Ran out of input"), "a checkpoint", "cut short", "name the right"),
    (SAFE[:10], EOFError(), "a checkpoint", "cut short (ends inside its header)", "name the right"),
    (
        gzip.compress(bytes(range(256)) * 50)[:-90],
        EOFError("Compressed file ended before the end-of-stream marker"),
        "a gzip file",
        "cut short",
        "name",
    ),
]


@pytest.mark.parametrize("row", REASONS, ids=[f"{i}-{row[3][:30]}" for i, row in enumerate(REASONS)])
def test_the_sentence_tells_why(tmp_path, row):
    content, error, wanted, said, unsaid = row
    path = tmp_path / "f"
    path.write_bytes(content)
    sentence = why_unreadable(path, error, wanted)
    assert sentence.startswith(f"{path} ") and "\n" not in sentence
    assert said in sentence and unsaid not in sentence, sentence


def test_a_path_that_is_no_file(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    missing = FileNotFoundError(errno.ENOENT, "No such file")
    assert "does not exist" in why_unreadable(tmp_path / "none", missing, "an HDF5 file")
    assert "does not exist" in why_unreadable(tmp_path / "none", None, "an HDF5 file")
    assert f"is a link to {tmp_path / 'gone'}, which" in why_unreadable(tmp_path / "link", missing, "an HDF5 file")
    assert "is a folder" in why_unreadable(tmp_path, IsADirectoryError(), "an HDF5 file")


def test_what_h5py_itself_raises(tmp_path):
    """The real errors of a lock held by another process and, where we are not root, of a missing permission."""
    path = tmp_path / "a.h5"
    path.write_bytes(h5())
    held = "import h5py, sys; f = h5py.File(sys.argv[1], 'a'); print('held', flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", held, str(path)], **pipes) as holder:
        assert holder.stdout.readline().strip() == b"held"
        with pytest.raises(OSError) as caught:
            h5py.File(path, "r")
        holder.stdin.close()
    assert "is open for writing in another program" in why_unreadable(path, caught.value, "an HDF5 file")
    if os.geteuid() != 0:  # root reads everything
        path.chmod(0)
        with pytest.raises(OSError) as caught:
            h5py.File(path, "r")
        assert "no permission" in why_unreadable(path, caught.value, "an HDF5 file")
