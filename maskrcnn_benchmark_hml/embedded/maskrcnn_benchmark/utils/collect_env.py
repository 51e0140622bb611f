"""What the run is made on, for the log."""

from __future__ import annotations

import importlib
import os
import platform

import torch

_PACKAGES = ("torch", "torchvision", "numpy", "PIL", "h5py", "yacs")


def collect_env_info() -> str:
    """One line per fact: versions, processor threads, GPUs. Takes milliseconds."""
    facts = {"python": platform.python_version(), "platform": platform.platform()}
    for name in _PACKAGES:
        facts[name] = getattr(importlib.import_module(name), "__version__", "unknown")
    facts["CPU cores / torch threads"] = f"{os.cpu_count()} / {torch.get_num_threads()}"
    # With torch's version, what a CPU run's last bits depend on.
    facts["vector instructions that torch uses"] = torch.backends.cpu.get_cpu_capability()
    facts["CUDA of torch"] = torch.version.cuda or "none"
    for index in range(torch.cuda.device_count()):
        facts[f"GPU {index}"] = torch.cuda.get_device_name(index)
    return "\n".join(f"{name}: {value}" for name, value in facts.items())
