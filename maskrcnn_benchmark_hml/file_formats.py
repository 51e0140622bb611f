"""What a file is, told from its first bytes: so that a message can name it. Standard library only."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

_HEAD = 4096  # bytes read to tell a format: a tar header ends at 512, an HDF5 user block may be 512, 1024 or 2048 long

HDF5, ZIP, GZIP, BZIP2, XZ = "an HDF5 file", "a zip archive", "a gzip file", "a bzip2 file", "an xz file"
TAR, TORCH, TORCH_LEGACY = "a tar archive", "a torch file", "a torch file of the format before torch 1.6"
FASTTEXT = "a fastText model"
PICKLE, NPY, NPZ, SAFETENSORS = "a pickle file", "a numpy .npy file", "a numpy .npz archive", "a safetensors file"
JPEG, PNG, WEBP, GIF, BMP = "a JPEG picture", "a PNG picture", "a WebP picture", "a GIF picture", "a BMP picture"
TIFF, HEIC = "a TIFF picture", "a HEIC or AVIF picture"
HTML, XML, JSON, TEXT, LFS = "an HTML page", "an XML file", "JSON text", "a text file", "a git-lfs pointer"
EMPTY, ZEROS, FOLDER, UNKNOWN = "an empty file", "a file of zero bytes only", "a folder", "a file of an unknown format"

# (offset, bytes there, format); the first that fits counts.
_MAGIC = (
    (257, b"ustar", TAR),  # before HDF5: the first file in a tar starts at 512
    (0, b"\x89HDF\r\n\x1a\n", HDF5),
    (512, b"\x89HDF\r\n\x1a\n", HDF5),
    (1024, b"\x89HDF\r\n\x1a\n", HDF5),
    (2048, b"\x89HDF\r\n\x1a\n", HDF5),
    (0, b"PK\x03\x04", ZIP),
    (0, b"PK\x05\x06", ZIP),
    (0, b"\x1f\x8b\x08", GZIP),
    (0, b"BZh", BZIP2),
    (0, b"\xfd7zXZ\x00", XZ),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd file"),
    (0, b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", TORCH_LEGACY),
    (0, b"\xba\x16\x4f\x2f", FASTTEXT),
    (0, b"\x93NUMPY", NPY),
    (0, b"\x89PNG\r\n\x1a\n", PNG),
    (0, b"\xff\xd8\xff", JPEG),
    (0, b"GIF87a", GIF),
    (0, b"GIF89a", GIF),
    (8, b"WEBP", WEBP),
    (0, b"II*\x00", TIFF),
    (0, b"MM\x00*", TIFF),
    (4, b"ftypheic", HEIC),
    (4, b"ftypmif1", HEIC),
    (4, b"ftypavif", HEIC),
    (0, b"%PDF-", "a PDF file"),
    (0, b"SQLite format 3\x00", "an SQLite database"),
    (0, b"MATLAB 5.0", "a MATLAB file"),
    (0, b"PAR1", "a Parquet file"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document"),
    (0, b"\x7fELF", "an ELF program or library"),
    (0, b"version https://git-lfs.github.com/spec/", LFS),
)
_BOMS = (  # UTF-32's first: its little-endian mark starts with UTF-16's
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF8, "UTF-8-SIG"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_OPENERS: dict[str, Callable[..., Any]] = {GZIP: gzip.open, BZIP2: bz2.open, XZ: lzma.open}


def describe_format(path: str | Path) -> str:
    """What the file at ``path`` is, as a noun with its article, e.g. ``"an HDF5 file"``; told from its content.

    Text is named with its encoding unless that is plain UTF-8 ("JSON text in UTF-16"). Raises OSError like ``open``.
    """
    path = Path(path)
    if path.is_dir():
        return FOLDER
    with path.open("rb") as file:
        head = file.read(_HEAD)
    kind = describe_bytes(head, path.stat().st_size)
    return _kind_of_zip(path) if kind == ZIP else kind


def describe_bytes(head: bytes, size: int) -> str:
    """:func:`describe_format` of a file of ``size`` bytes that starts with ``head`` (a zip is named as such)."""
    if not head:
        return EMPTY
    if not head.strip(b"\x00"):
        return ZEROS
    for offset, magic, kind in _MAGIC:
        if head.startswith(magic, offset):
            return kind
    if head[:2] == b"BM" and head[2:6] == struct.pack("<I", size & 0xFFFFFFFF):
        return BMP
    if len(head) > 8 and head[8:9] == b"{" and 2 <= struct.unpack("<Q", head[:8])[0] < 1 << 32:
        return SAFETENSORS
    if head[0] == 0x80 and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return PICKLE
    return _describe_text(head)


def _describe_text(head: bytes) -> str:
    encoding = guess_encoding(head)
    if encoding is None:
        return UNKNOWN
    text = head.decode(encoding, errors="ignore").lstrip()
    lower = text[:512].lower()
    if lower.startswith(("<!doctype html", "<html")):
        kind = HTML
    elif lower.startswith("<?xml"):
        kind = XML
    else:
        kind = JSON if re.match(r'\{\s*["}]|\[\s*[\[{"\]\d-]', text) else TEXT
    shown = {"UTF-8": "", "UTF-8-SIG": " in UTF-8 with a byte-order mark"}.get(encoding, f" in {encoding}")
    return kind + shown


def guess_encoding(data: bytes) -> str | None:
    """The encoding of text, as Python names it ("UTF-8", "UTF-8-SIG", "UTF-16", "GB18030", ...); None for binary data.

    A guess where the text says nothing itself: East Asian encodings count as such when what they give is letters of
    their scripts, Windows-1252 when nothing but its accented letters stands out. A cut last character is no fault.
    """
    for mark, name in _BOMS:
        if data.startswith(mark):
            return name
    zeros = (data[0::2].count(0), data[1::2].count(0))
    if max(zeros) > len(data) // 4 > 0 and min(zeros) == 0:  # mostly ASCII in UTF-16 without its mark
        return "UTF-16-BE" if zeros[0] else "UTF-16-LE"
    if re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", data):
        return None
    if _decoded(data, "UTF-8") is not None:
        return "UTF-8"
    for name, letters in (
        ("GBK", "[\u4e00-\u9fff\u3000-\u303f\uff00-\uffef]"),
        ("Shift_JIS", "[\u3040-\u30ff\u4e00-\u9fff\u3000-\u303f]"),
        ("EUC-KR", "[\uac00-\ud7a3]"),
        ("Big5", "[\u4e00-\u9fff\u3000-\u303f\uff00-\uffef]"),
        ("Windows-1252", "[\u00c0-\u00ff\u2010-\u2030\u00a0-\u00bf]"),
    ):
        text = _decoded(data, name)
        foreign = [c for c in text or "" if ord(c) > 127]
        # Two bytes of accented Latin text also form a Chinese character: then few letters of each word are foreign.
        if foreign and len(re.findall(letters, "".join(foreign))) > 0.9 * len(foreign):
            if name == "Windows-1252" or not re.search(rb"[A-Za-z][\x80-\xff]+[A-Za-z]", data):
                return name
    return None


def _decoded(data: bytes, encoding: str) -> str | None:
    """The text, without a last character that ``data`` may cut; None if it is not in this encoding."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(data, final=False)
    except UnicodeDecodeError:
        return None


def _zip_names(path: Path) -> list[str]:
    """The first names in a zip: of its directory, or of the first local header where the directory was cut off."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()[:50]
    except (zipfile.BadZipFile, OSError):
        with path.open("rb") as file:
            head = file.read(_HEAD)
        length = struct.unpack("<H", head[26:28])[0] if len(head) >= 30 else 0
        return [head[30 : 30 + length].decode("utf-8", errors="replace")]


def _kind_of_zip(path: Path) -> str:
    names = _zip_names(path)
    if any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
        return TORCH
    if names and all(name.endswith(".npy") for name in names):
        return NPZ
    if "[Content_Types].xml" in names:
        return "an Office document"
    return ZIP


def describe_inside(path: str | Path, kind: str) -> str:
    """What a wrapping of this ``kind`` (gzip, bzip2, xz, zip, tar) holds, e.g. ``"an HDF5 file"``; "" if unknown."""
    try:
        if kind in _OPENERS:
            with _OPENERS[kind](path, "rb") as file:
                return describe_bytes(file.read(_HEAD), -1)
        if kind == ZIP:
            return ", ".join(name for name in _zip_names(Path(path)) if not name.endswith("/")).strip()[:200]
        if kind == TAR:
            with tarfile.open(path) as archive:
                first = archive.next()
                return first.name if first is not None else ""
    except (OSError, EOFError, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError):
        return ""  # cut short before anything of it can be seen
    return ""


def cut_short(path: str | Path, kind: str) -> str:
    """How a file of this ``kind`` can be seen to be cut short, e.g. ``"holds 100 of 2048 bytes"``; "" if it cannot."""
    path = Path(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD)
        file.seek(max(0, size - _HEAD))
        tail = file.read()
    if kind in (EMPTY, ZEROS):
        return "holds nothing" if kind == EMPTY else "holds zero bytes only"
    if kind == HDF5:
        whole = _hdf5_size(head)
        return f"holds {size} of {whole} bytes" if size < whole else ""
    if kind == SAFETENSORS and size < 8 + struct.unpack("<Q", head[:8])[0]:
        return "ends inside its header"
    if kind in (ZIP, TORCH, NPZ):
        return "" if zipfile.is_zipfile(path) else "lacks the directory at its end"
    end = {PNG: b"IEND", JPEG: b"\xff\xd9", GIF: b";", PICKLE: b"."}.get(kind)
    if end is not None and end not in tail:
        return "lacks its end mark"
    if kind in (WEBP, BMP):
        whole = struct.unpack("<I", head[2:6] if kind == BMP else head[4:8])[0] + (0 if kind == BMP else 8)
        return f"holds {size} of {whole} bytes" if size < whole else ""
    if kind.startswith(JSON) and tail.strip(b" \r\n\t\x00")[-1:] not in (b"}", b"]"):
        return "does not end with a closing bracket"
    return ""


def _hdf5_size(head: bytes) -> int:
    """The file's size in bytes that its superblock states; 0 where it cannot be read."""
    start = next((at for at in (0, 512, 1024, 2048) if head.startswith(b"\x89HDF\r\n\x1a\n", at)), -1)
    block = head[start : start + 96]
    if start < 0 or len(block) < 48:
        return 0
    version = block[8]
    width = block[13] if version < 2 else block[9]
    at = {0: 40, 1: 44}.get(version, 28)
    return struct.unpack("<Q", block[at : at + 8])[0] if width == 8 else 0
