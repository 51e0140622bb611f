"""Links, anchors and code blocks of the pages, and the pages that the code names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from maskrcnn_benchmark_hml import __version__, cli

from .printed import PAGES, REPO, blocks, prose

CODE = [REPO / "Makefile", REPO / "setup.py", REPO / "bootstrap.py", *(REPO / "configs").rglob("*.yaml"),
        *(REPO / "maskrcnn_benchmark_hml").rglob("*.py")]
LINKED = [*PAGES, REPO / "CHANGELOG.md", *(REPO / name / "README.md" for name in ("patches", "benchmarks")),
          REPO / "configs" / "trees" / "README.md"]
#: Pages that mkdocs.yml makes from other files: docs/site.py.
GENERATED = ("api/", "changelog.md", "contributing.md")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as mkdocs and GitHub make them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


def test_pages_that_the_code_names_exist():
    named = {(file.name, name, anchor) for file in CODE
             for name, anchor in re.findall(r"docs/([\w-]+\.md)(?:#([\w-]+))?", file.read_text("utf-8"))}
    assert {"data.md", "settings.md", "metrics.md", "mini-vg.md"} <= {name for _, name, _ in named}
    for file, name, anchor in named:
        page = REPO / "docs" / name
        assert page.is_file() and (not anchor or anchor in anchors(page)), f"{file} names docs/{name} {anchor}"


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.relative_to(REPO).as_posix())
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("http", "../../actions")):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        assert file.exists() or name.startswith(GENERATED), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_blocks_are_fenced_and_name_their_language(page):
    assert {language for language, _ in blocks(page)} <= {"bash", "text", "python", "yaml", "bibtex"}
    assert page.read_text("utf-8").count("```") == 2 * len(blocks(page))
    assert not re.search(r"^(?![-*\d|] ?).*\n\n {4}\S", prose(page), re.MULTILINE), "an indented block; fence it"
    for language, text in blocks(page):
        if language == "python":
            compile(text, page.name, "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_named_in_sentences_exist(page):
    known = {command.name for command in cli.COMMANDS}
    assert set(re.findall(r"`hml ([a-z][\w-]*)", prose(page))) <= known


def test_python_of_the_api_page_runs(tmp_path):
    custom = [text for language, text in blocks(REPO / "docs" / "custom-data.md") if language == "python"]
    own = [text for language, text in blocks(REPO / "docs" / "api.md") if language == "python"]
    (tmp_path / "configs").symlink_to(REPO / "configs")
    paths = os.pathsep.join(filter(None, (str(REPO), os.environ.get("PYTHONPATH"))))
    done = subprocess.run([sys.executable, "-c", "\n".join(custom + own)], cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": paths})
    assert not done.returncode, done.stderr
    assert "('on', 'riding', 'wearing')" in done.stdout


def test_every_page_is_in_the_site_and_in_the_readme():
    site, readme = (REPO / "mkdocs.yml").read_text("utf-8"), (REPO / "README.md").read_text("utf-8")
    for page in (REPO / "docs").glob("*.md"):
        assert f": {page.name}\n" in site, page
        assert f"(docs/{page.name})" in readme or page.name in ("index.md", "api.md"), page


def test_changelog_and_citation_name_the_version():
    changelog, citation = (REPO / "CHANGELOG.md").read_text(), (REPO / "CITATION.cff").read_text()
    date = re.search(rf"^## {re.escape(__version__)} \((.*)\)$", changelog, re.MULTILINE)
    assert f"\nversion: {__version__}\ndate-released: {date[1]}\n" in citation


def test_figure_of_the_method_is_that_of_its_script(tmp_path):
    done = subprocess.run([sys.executable, REPO / "docs/figures/method.py", tmp_path / "method.svg"])
    words = re.compile(r"<!-- (.*?) -->")
    drawn, shipped = ((folder / "method.svg").read_text("utf-8") for folder in (tmp_path, REPO / "docs" / "figures"))
    assert not done.returncode and words.findall(drawn) == words.findall(shipped)


def test_hosted_tests_use_the_oldest_versions_that_setup_allows():
    setup, hosted = (REPO / "setup.py").read_text("utf-8"), (REPO / ".github/workflows/ci.yml").read_text("utf-8")
    python, torch, vision = (re.search(pattern, setup)[1] for pattern in (
        r'python_requires=">=([\d.]+)"', r'"torch>=([\d.]+)"', r'"torchvision>=([\d.]+)"'))
    assert f'python: "{python}", torch: "torch=={torch}.* torchvision=={vision}.*' in hosted
    targets = set(re.findall(r"run: make ([\w-]+)", hosted))
    assert {"test", "lint", "docs"} <= targets <= set(re.findall(r"^([\w-]+):", (REPO / "Makefile").read_text(), re.M))


@pytest.mark.parametrize("name", ["architecture.md", "extending.md"])
def test_files_that_the_map_names_exist(name):
    page = (REPO / "docs" / name).read_text("utf-8")
    package = REPO / "maskrcnn_benchmark_hml"
    places = [REPO, package, *(folder for folder in package.iterdir() if folder.is_dir())]
    named = set(re.findall(r"`([\w/]+(?:\.py|\.yaml|/))`", page)) | set(re.findall(r"`(tests/[\w/.]+)`", page))
    named |= set(re.findall(r"\b([\w/]+\.py)\b", "".join(text for _, text in blocks(REPO / "docs" / name))))
    named |= set(re.findall(r"^ +(\w+/) ", page, re.MULTILINE))
    missing = {path for path in named if not any((place / path).exists() for place in places)
               and ("/" in path or not any(package.rglob(path)))}
    assert not missing
