"""What one stage hands to the next: theta*, F, Omega and where they come from, in one file."""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import HMLError
from ..files import load_torch, save_torch, why_unreadable

_FORMAT = "hml-stage-memory"
_VERSION = 1
_TORN = (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile)


@dataclass
class StageMemory:
    """The memory of one finished stage.

    Attributes:
        stage: k, from 1.
        head: state dict of the whole relation head (theta* and the teacher's buffers).
        fisher: F of the tracked parameters (eq. 8), by name.
        omega: Omega_raw of the tracked parameters (eq. 9, before eq. 10), by name.
        provenance: plain values (JSON): configuration, tree digest, iterations, seed, versions.
    """

    stage: int
    head: dict[str, Tensor]
    fisher: dict[str, Tensor]
    omega: dict[str, Tensor]
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 over names, dtypes, shapes, values and provenance, hexadecimal."""
        sha = hashlib.sha256()
        sha.update(json.dumps([_FORMAT, self.stage, self.provenance], sort_keys=True).encode())
        for part, tensors in (("head", self.head), ("fisher", self.fisher), ("omega", self.omega)):
            for name in sorted(tensors):
                tensor = tensors[name].detach().cpu().contiguous()
                sha.update(f"{part}/{name}:{tensor.dtype}{tuple(tensor.shape)}".encode())
                if tensor.numel():
                    sha.update(memoryview(tensor.reshape(-1).view(torch.uint8).numpy()))  # type: ignore[arg-type]
        return sha.hexdigest()

    def save(self, path: str | Path) -> str:
        """Write the file aside, then move it into place; returns the digest that it carries.

        Raises:
            HMLError: a provenance that is not plain JSON, or a folder that cannot be written.
        """
        try:
            digest = self.digest
        except TypeError as error:
            raise HMLError(f"the stage's provenance holds more than plain values ({error}); keep to JSON") from error
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "stage": self.stage,
            "head": _on_cpu(self.head),
            "fisher": _on_cpu(self.fisher),
            "omega": _on_cpu(self.omega),
            "provenance": json.dumps(self.provenance, sort_keys=True),
            "digest": digest,
        }
        save_torch(content, path, "stage memory")
        return digest

    @classmethod
    def load(cls, path: str | Path) -> StageMemory:
        """Read a file onto the CPU without unpickling code, and verify its digest.

        Raises:
            HMLError: no such file, torn, of another kind or version, or altered.
        """
        path = Path(path)
        if not path.is_file():
            raise HMLError(f"the stage memory {path} does not exist; train the stage before it first")
        damaged = f"the stage memory {path} is torn or damaged; delete it and train that stage again"
        try:
            content = load_torch(path)
        except HMLError:
            raise
        except OSError as error:  # no permission, for one: the file may be whole
            raise HMLError(why_unreadable(path, error, "a torch file")) from error
        except _TORN as error:
            raise HMLError(damaged) from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise HMLError(f"{path} is no stage memory; give the file that a stage of hml wrote")
        if content.get("version") != _VERSION:
            raise HMLError(f"{path} has the version {content.get('version')}, this hml reads {_VERSION}; update hml")
        try:
            memory = cls(
                int(content["stage"]),
                content["head"],
                content["fisher"],
                content["omega"],
                json.loads(content["provenance"]),
            )
            intact = memory.digest == content["digest"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise HMLError(damaged) from error
        if not intact:
            raise HMLError(damaged)
        return memory


def _on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    # A clone where the tensor is a view: torch would otherwise save the whole storage behind it.
    cpu = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    whole = {name: t.untyped_storage().nbytes() == t.numel() * t.element_size() for name, t in cpu.items()}
    return {name: tensor if whole[name] else tensor.clone() for name, tensor in cpu.items()}
