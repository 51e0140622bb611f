"""What mkdocs.yml needs beside the pages: CHANGELOG.md, CONTRIBUTING.md and the API pages as parts of the site.

The API page of a package is made from its modules, so that a new module is in the site without any further edit. A
public name without a docstring is an error.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

REPO = Path(__file__).resolve().parents[1]
PACKAGE = REPO / "maskrcnn_benchmark_hml"
#: The packages that are useful from Python. The others are parts of the commands.
PACKAGES = ("method", "training", "metrics", "datasets", "predict", "report")


def modules(package: str) -> list[Path]:
    """The modules of a package, its subpackages included."""
    return sorted(path for path in (PACKAGE / package).rglob("*.py") if path.name != "__main__.py")


def undocumented(path: Path) -> list[str]:
    """Public functions, classes and the module itself, where they have no docstring."""
    tree = ast.parse(path.read_text("utf-8"))
    name = ".".join(path.relative_to(REPO).with_suffix("").parts)
    public = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name[0] != "_"]
    missing = [] if ast.get_docstring(tree) else [name]
    return missing + [f"{name}.{node.name}" for node in public if not ast.get_docstring(node)]


def api_page(package: str) -> str:
    """A page that mkdocstrings fills."""
    names = [".".join(path.relative_to(REPO).with_suffix("").parts) for path in modules(package)]
    names = [name.removesuffix(".__init__") for name in names]
    return f"# {package}\n\n" + "\n\n".join(f"::: {name}" for name in names) + "\n"


def on_files(files, config):
    """Add the generated pages; called by mkdocs."""
    missing = [name for package in PACKAGES for path in modules(package) for name in undocumented(path)]
    if missing:
        raise PluginError("without a docstring: " + ", ".join(missing))
    for name in ("CHANGELOG", "CONTRIBUTING"):
        text = (REPO / f"{name}.md").read_text("utf-8")
        text = re.sub(r"\]\(docs/", "](", text).replace("](CHANGELOG.md)", "](changelog.md)")  # links from the root
        files.append(File.generated(config, f"{name.lower()}.md", content=text))
    for package in PACKAGES:
        files.append(File.generated(config, f"api/{package}.md", content=api_page(package)))
    return files
