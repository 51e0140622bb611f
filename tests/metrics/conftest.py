"""Recall is tested through the evaluation of the bundled benchmark, with the fixtures of its tests."""

from __future__ import annotations

from ..embedded.conftest import _seeded, tiny_cfg, tiny_vg  # noqa: F401
