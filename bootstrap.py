"""Makes the Makefile's virtual environments: ``python bootstrap.py VENV [--system-torch | --oldest-torch]``.

The standard library alone. Everything that can be wrong is said in one sentence before anything is fetched.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
#: GB on disk, measured with torch 2.14 on Linux, whose wheel brings CUDA's libraries; with torch's own package at hand.
SIZE, SIZE_WITHOUT_TORCH = 5.8, 0.6
SHOWN_MB = 5  # smaller downloads are not worth a line
HEAVY = ("torch", "torchvision")
COMMANDS = ("ruff",)  # what the Makefile calls by name


def oldest(package: str) -> tuple[int, ...]:
    """The oldest version of a package that setup.py allows."""
    found = re.search(rf'"{package}>=([\d.]+)"', (HERE / "setup.py").read_text("utf-8"))
    return tuple(map(int, found[1].split(".")))


def missing_torch() -> str | None:
    """What keeps this interpreter's torch and torchvision from being used; None if nothing does."""
    for package in HEAVY:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return f"it has no {package}"
        needed = oldest(package)
        if tuple(map(int, re.findall(r"\d+", version)[: len(needed)])) < needed:
            return f"its {package} is {version}, and {'.'.join(map(str, needed))} or newer is needed"
    return None


def make_venv(folder: Path, system_torch: bool, *options: str) -> None:
    """The empty environment; with ``system_torch`` it sees the packages of this interpreter.

    A virtual environment made from another one sees the packages of the Python below both, so that one's own folders
    are added by name.

    Args:
        options: more options of the venv module.
    """
    if (folder / "bin" / "python").exists():
        shared = "include-system-site-packages = true" in (folder / "pyvenv.cfg").read_text("utf-8")
        if shared != system_torch:
            sys.exit(f"{folder} was made with{'' if shared else 'out'} SYSTEM_TORCH=1; run make clean first")
        return
    words = [sys.executable, "-m", "venv", *options, *(["--system-site-packages"] if system_torch else [])]
    if subprocess.run([*words, str(folder)]).returncode:
        shutil.rmtree(folder, ignore_errors=True)
        remedy = f"install the venv module of {sys.executable} (on Debian: apt install python3-venv)"
        sys.exit(f"could not make {folder}: {remedy}")
    if system_torch and sys.prefix != sys.base_prefix:
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        link = folder / "lib" / version / "site-packages" / "system-torch.pth"
        packages = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
        link.write_text("\n".join(packages) + "\n", "utf-8")


def shown(line: str) -> str | None:
    """What a line of pip's output tells somebody who waits; None if it is of no interest."""
    line = line.strip()
    download = re.match(r"Downloading (\S+?)-[\d.]+\S*\.(?:whl|tar\.gz)\S* \((\d+(?:\.\d+)?) (MB|GB)\)", line)
    if download:
        name, size, unit = download.groups()
        return f"  downloading {name}, {size} {unit}" if unit == "GB" or float(size) >= SHOWN_MB else None
    if line.startswith("Installing collected packages:"):
        return f"  installing {line.count(',') + 1} packages (this can take minutes on a slow disk)"
    return f"  {line}" if line.startswith(("ERROR", "WARNING")) else None


def oldest_torch() -> list[str]:
    """The oldest torch and torchvision that setup.py allows, as pip asks for them; they were built for numpy 1."""
    return [f"{package}=={'.'.join(map(str, oldest(package)))}.*" for package in HEAVY] + ["numpy<2"]


def install(folder: Path, *further: str) -> int:
    """Install the package and its development tools, and ``further`` with them; pip's exit code."""
    code = run_pip(folder, "-e", f"{HERE}[dev]", *further)
    # A tool that the shared packages hold is found by import, but its command is in their folder and not in ours.
    missing = [tool for tool in COMMANDS if not (folder / "bin" / tool).exists()]
    return run_pip(folder, "--force-reinstall", "--no-deps", *missing) if missing and not code else code


def run_pip(folder: Path, *words: str) -> int:
    """``pip install WORDS`` in the environment, telling what is worth it; pip's exit code."""
    head = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    command = [*head, "--progress-bar", "off", *words]
    pip = subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, text=True)
    for line in pip.stdout:
        told = shown(line)
        if told is not None:
            print(told, flush=True)
    return pip.wait()


def announce(folder: Path, system_torch: bool) -> None:
    """Say beforehand how much is installed, and stop if there is no room for it."""
    if (folder / "bin" / "python").exists():
        print(f"Updating {folder}.", flush=True)
        return
    needed = SIZE_WITHOUT_TORCH if system_torch else SIZE
    free = shutil.disk_usage(folder.parent).free / 1e9
    if free < needed:
        sys.exit(f"{folder} needs {needed} GB, but {folder.parent} has {free:.1f} GB free; free some space, or move "
                 "this repository to another disk")  # fmt: skip
    if system_torch:
        print(f"Installing into {folder} (only once): at most about {needed} GB, with the torch of {sys.executable}.")
    else:
        print(f"Installing into {folder} (only once): {needed} GB on Linux, 4.1 GB of them CUDA libraries.")
        print("This takes 2 to 15 minutes, mostly for downloads.", end=" ")
        print("With PYTHON=INTERPRETER SYSTEM_TORCH=1, make uses an interpreter's torch and downloads nothing large.")
        if missing_torch() is None:
            print(f"{sys.executable} has torch: make SYSTEM_TORCH=1 ...")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("venv", type=Path)
    parser.add_argument("--system-torch", action="store_true", help="use the torch of the interpreter that runs this")
    parser.add_argument("--oldest-torch", action="store_true", help="install the oldest torch that setup.py allows")
    options = parser.parse_args()
    folder = options.venv.absolute()
    if options.system_torch and missing_torch():
        sys.exit(f"SYSTEM_TORCH=1: {sys.executable} cannot be used, {missing_torch()}; give another with PYTHON=...")
    announce(folder, options.system_torch)
    make_venv(folder, options.system_torch)
    return install(folder, *(oldest_torch() if options.oldest_torch and not options.system_torch else ()))


if __name__ == "__main__":
    sys.exit(main())
