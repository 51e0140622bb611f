"""Why a file cannot be read or written: one sentence that names the file, the reason and the remedy.

An intact file is never called damaged: a lock, a permission, another format, another encoding and a wrapping around
the right file are told apart from a cut file.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from pathlib import Path

from . import file_formats as formats
from .file_formats import cut_short, describe_format, describe_inside

# What callers ask for -> the formats that are it; any other phrase stands for the format of that name.
_WANTED = {
    "a JSON file": (formats.JSON, formats.TEXT),
    "a picture": (formats.JPEG, formats.PNG, formats.WEBP, formats.GIF, formats.BMP, formats.TIFF),
    "a checkpoint": (formats.TORCH, formats.TORCH_LEGACY, formats.PICKLE, formats.SAFETENSORS),
    "a torch file": (formats.TORCH, formats.TORCH_LEGACY, formats.PICKLE),
    "a numpy archive": (formats.NPZ, formats.NPY),
    "a file of word vectors": (formats.TEXT, formats.FASTTEXT),
}
_UNPACK = {
    formats.GZIP: "gunzip",
    formats.BZIP2: "bunzip2",
    formats.XZ: "unxz",
    formats.ZIP: "unzip",
    formats.TAR: "tar -xf",
    "a 7z archive": "7z x",
    "a RAR archive": "unrar x",
    "a zstd file": "unzstd",
}
_BY_ERRNO = {
    errno.EMFILE: "cannot be opened: this process has too many files open; raise the limit (ulimit -n 65536) "
    "or use fewer loader workers",
    errno.ENFILE: "cannot be opened: the machine has too many files open; close other programs",
    errno.ESTALE: "cannot be read: its network file system has lost it (stale handle); start again, or remount it",
    errno.EIO: "cannot be read: the disk or network file system reports an input/output error; try again, "
    "then look at the disk (dmesg)",
    errno.ENOMEM: "cannot be read: not enough memory is free; close other programs",
    errno.ELOOP: "is a link that leads back to itself; set it to the real file",
    errno.ENAMETOOLONG: "cannot be opened: the path is too long; use a shorter folder name",
}
_FULL = (errno.ENOSPC, errno.EDQUOT)
# torch.save's words for a failed write, most of them without the system's error number.
_TORCH_WRITES = re.compile(r"unexpected pos|iostream error|write\(\): fd|PytorchStreamWriter")
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, 524)  # 524: Linux's internal ENOTSUPP, seen on NFS


def why_unreadable(path: str | Path, error: BaseException | None, wanted: str) -> str:
    """One sentence on why a file could not be read, with the remedy; starts with the path, without a full stop.

    Args:
        path: the file.
        error: what reading it raised; None if its format alone was the reason.
        wanted: what it should be, with the article: a name of :mod:`.file_formats` such as ``"an HDF5 file"``, or
            ``"a JSON file"``, ``"a picture"``, ``"a checkpoint"``, ``"a torch file"``, ``"a numpy archive"``.
    """
    path = Path(path)
    matter = _locked(error) or _from_folder(path) or _from_errno(path, error)
    if matter is None:
        try:
            kind = describe_format(path)
            matter = _from_content(path, kind, error, wanted)
        except OSError as failure:  # unreadable for us as well, for another reason than the caller's
            matter = _from_errno(path, failure) or f"cannot be read ({failure.strerror or failure})"
    return f"{path} {matter}"


def write_error(error: BaseException) -> OSError | None:
    """The failed write behind an error: an OSError itself, or one that ``torch.save`` raised as something else."""
    if isinstance(error, OSError):
        return error
    if not (isinstance(error, RuntimeError) and _TORCH_WRITES.search(str(error))):
        return None
    if isinstance(error.__context__, OSError):
        return error.__context__
    known = [number for number in (*_FULL, errno.EFBIG, errno.EROFS, errno.EIO) if os.strerror(number) in str(error)]
    number = (known or [errno.ENOSPC])[0]
    return OSError(number, os.strerror(number))


def why_unwritable(path: str | Path, what: str, error: OSError, needed: int = 0) -> str:
    """One sentence on why a file could not be written, with the remedy, without a full stop.

    Args:
        path: the file's place. what: what the file is.
        needed: bytes that it takes, as far as known.
    """
    reason = os.strerror(error.errno) if error.errno else str(error).partition("\n")[0]
    if error.errno not in _FULL:
        return f"the {what} {path} cannot be written ({reason}); choose another place"
    folder = next(place for place in Path(path).absolute().parents if place.exists())
    room = f"{shutil.disk_usage(folder).free >> 20} MB are free" + (f", it takes {_up(needed)} MB" if needed else "")
    return f"the {what} {path} cannot be written ({reason}: {room}); free some space, then give the same command again"


def full_or_read_only(error: BaseException) -> str:
    """A sentence for a write that failed anywhere in a host because of the disk; "" for any other error."""
    failed = write_error(error)
    if failed is None or failed.errno not in (*_FULL, errno.EROFS):
        return ""
    if failed.filename:
        return why_unwritable(failed.filename, "file", failed)
    return f"a file cannot be written ({failed.strerror}); free some space in OUTPUT_DIR and in TMPDIR, or give others"


def _up(size: int) -> int:
    return -(-size // 2**20)


def _error_number(error: BaseException | None) -> int | None:
    """errno of an OSError; h5py gives some only in the text ("errno = 11")."""
    number = getattr(error, "errno", None)
    if number is None and isinstance(error, OSError):
        found = re.search(r"errno = (\d+)", str(error))
        number = int(found.group(1)) if found else None
    return number


def _locked(error: BaseException | None) -> str | None:
    text, number = str(error or ""), _error_number(error)
    if number in _NO_LOCKS or ("unable to lock file" in text and number not in (errno.EAGAIN, errno.EACCES)):
        return (
            "is on a file system that cannot lock files (NFS, Lustre and the like): set the environment variable "
            "HDF5_USE_FILE_LOCKING=FALSE, or copy the file to a local disk"
        )
    if number == errno.EAGAIN or "unable to lock file" in text or "already open for" in text and "h5clear" not in text:
        return (
            "is open for writing in another program, e.g. a notebook: close it there (f.close(), or end its kernel) "
            "and start again"
        )
    if "h5clear" in text:  # a writer that was killed left its mark in the file
        return (
            "is marked as open for writing: close it in the program that writes it; if that was killed, clear the "
            "mark with: h5clear -s FILE"
        )
    return None


def _from_folder(path: Path) -> str | None:
    if path.is_dir():
        return "is a folder, not a file; name the file"
    if path.is_symlink() and not path.exists():
        return f"is a link to {os.readlink(path)}, which does not exist; correct the link or the path"
    return None


def _from_errno(path: Path, error: BaseException | None) -> str | None:
    number = _error_number(error)
    if isinstance(error, FileNotFoundError) or number in (errno.ENOENT, errno.ENOTDIR):
        return "does not exist; correct the path"
    if isinstance(error, PermissionError) or number in (errno.EACCES, errno.EPERM):
        return "may not be read by this user (no permission); its owner can allow it: chmod a+r FILE"
    if isinstance(error, MemoryError):
        number = errno.ENOMEM
    return _BY_ERRNO.get(number) if number is not None else None


def _from_content(path: Path, kind: str, error: BaseException | None, wanted: str) -> str:
    plain = kind.split(" in ")[0]
    if kind in (formats.EMPTY, formats.ZEROS):
        what = "is empty (0 bytes)" if kind == formats.EMPTY else "holds zero bytes only"
        return f"{what}: the program that wrote or copied it did not finish; write or copy it again"
    if plain == formats.HTML:
        return f"is an HTML page (a download's login or error page?), not {wanted}; download the file itself"
    if kind == formats.LFS:
        return f"is a git-lfs pointer, not {wanted}; fetch its content with: git lfs pull"
    if kind == wanted or plain in _WANTED.get(wanted, (wanted,)):
        return _right_format(path, kind, error, wanted)
    if kind in _UNPACK:
        how = cut_short(path, kind) or (str(error) if isinstance(error, EOFError) else "")
        if how:
            return f"is {kind} and cut short ({how}): writing or copying it did not finish; write or copy it again"
        inside = describe_inside(path, kind)
        around = f" (in it: {inside})" if inside else ""
        return f"is {kind}{around}, not {wanted}; unpack it ({_UNPACK[kind]} FILE) and give the unpacked file"
    return f"is {kind}, not {wanted}; name the right file"


def _right_format(path: Path, kind: str, error: BaseException | None, wanted: str) -> str:
    """The file is what was wanted as far as its first bytes tell, and could not be read all the same."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0] if error is not None else "no reason given"
    if isinstance(error, UnicodeDecodeError) or " in " in kind and "byte-order mark" not in kind:
        encoding = kind.split(" in ")[1] if " in " in kind else "an encoding that was not recognised"
        return f"is text in {encoding}, not in UTF-8; save it as UTF-8" + (
            f" (iconv -f {encoding} -t UTF-8 FILE)" if " in " in kind else f" ({reason})"
        )
    how = cut_short(path, kind.split(" in ")[0])
    ends_early = re.search(r"truncated|unexpected (end|EOF)|end-of-stream", reason, re.I)
    if not how and (isinstance(error, EOFError) or ends_early):
        how = reason
    if how:
        return f"is cut short ({how}): writing or copying it did not finish; write or copy it again"
    if isinstance(error, json.JSONDecodeError):
        return f"is not valid JSON at line {error.lineno} column {error.colno} ({error.msg}); correct it there"
    if kind == formats.TEXT:
        return f"is {kind}, not {wanted} ({reason}); name the right file"
    return f"is {kind}, but its content cannot be read ({reason}); compare it with its source, e.g. by sha256sum"
