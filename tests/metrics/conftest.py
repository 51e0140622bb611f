"""Metrics are tested through the bundled benchmark and `hml report`, with the fixtures of their tests."""

from __future__ import annotations

from ..embedded.conftest import _seeded, tiny_cfg, tiny_vg  # noqa: F401
from ..report.conftest import images, run, sgb_run, tree  # noqa: F401
