"""Packaging of maskrcnn_benchmark_hml: pure Python, nothing to compile, torch is not needed to build it."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
SOURCE = (HERE / "maskrcnn_benchmark_hml" / "__init__.py").read_text("utf-8")
VERSION = re.search(r'__version__ = "([^"]+)"', SOURCE).group(1)



def index_page(readme: str) -> str:
    """README for a package index, which has none of the repository's files: images go, links to files become text."""
    readme = re.sub(r"\[(!\[[^\]]*\]\([^)]*\))\]\((?!https?:|#)[^)]*\)", r"\1", readme)  # a badge that links to a file
    readme = re.sub(r"!\[[^\]]*\]\((?!https?:)[^)]*\)\n*", "", readme)
    file = re.compile(r"\[([^\]]*)\]\((?!https?:|#)([^)]*)\)")
    return file.sub(lambda link: link[1] if link[1] == link[2] else f"{link[1]} ({link[2]})", readme)


INSTALL_REQUIRES = [
    "torch>=2.1",
    "torchvision>=0.16",
    "numpy>=1.22",
    "h5py>=3.7",
    "pillow>=9.1",
    "yacs>=0.1.8",
    "PyYAML>=6.0",
    "gensim>=4.3",
    "tqdm>=4.64",
    "filelock>=3.4",  # torch needs it too
    "networkx>=2.8",  # torch needs it too; GraphML
    "matplotlib>=3.6",  # falls back to further fonts for single characters
    "jinja2>=3.1",  # the report page; torch needs it too
    "markupsafe>=2.0",  # jinja2 needs it too
    "pycocotools>=2.0.6",  # mAP of the detector, SGCls and SGDet
    "six>=1.16",  # six and scipy are imported by Scene-Graph-Benchmark.pytorch itself
    "scipy>=1.8",
]

TENSORBOARD = ["tensorboard>=2.9"]  # the first without calls that numpy 1.24 and protobuf 4 removed

# The embedded benchmark is looked up by path (it is put on sys.path only when chosen), so it ships as data:
# nothing of it may become importable as maskrcnn_benchmark_hml.embedded or, worse, as a top-level package.
DATA = ["**/*.yaml", "**/*.json", "py.typed", "report/page/files/*"]
EMBEDDED = ["embedded/**/*.py"]

setup(
    name="maskrcnn_benchmark_hml",
    version=VERSION,
    description="Hierarchical Memory Learning for scene graph generation (ECCV 2022), "
    "for Scene-Graph-Benchmark.pytorch and its forks",
    long_description=index_page((HERE / "README.md").read_text("utf-8")),
    long_description_content_type="text/markdown",
    author="the maskrcnn_benchmark_hml authors",
    license="MIT",
    python_requires=">=3.9",
    packages=find_packages(include=["maskrcnn_benchmark_hml*"], exclude=["maskrcnn_benchmark_hml.embedded*"])
    + ["maskrcnn_benchmark_hml.configs"],
    package_dir={"maskrcnn_benchmark_hml.configs": "configs"},
    package_data={"maskrcnn_benchmark_hml": DATA + EMBEDDED, "maskrcnn_benchmark_hml.configs": DATA},
    install_requires=INSTALL_REQUIRES,
    extras_require={
        "graph": ["pygraphviz>=2.0; python_version >= '3.10'"],  # wheels with Graphviz in them
        "dev": ["pytest>=7.3", "pytest-xdist>=3.2", "ruff>=0.6", "setuptools>=62.3", "selenium>=4.11",
                "mypy>=1.11", "types-PyYAML", "types-tqdm", *TENSORBOARD],  # fmt: skip
        "tensorboard": TENSORBOARD,  # HML.TENSORBOARD
        "docs": ["mkdocs>=1.6,<2", "mkdocs-material>=9.5,<10", "mkdocstrings>=0.26,<2", "mkdocstrings-python>=1.12,<3"],
    },
    entry_points={"console_scripts": ["hml = maskrcnn_benchmark_hml.cli:main"]},
    zip_safe=False,
)
