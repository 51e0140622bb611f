"""Every HML key: defaults in range, wrong values refused with the key's name, options as users type them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from yacs.config import CfgNode

from maskrcnn_benchmark_hml import config
from maskrcnn_benchmark_hml.config import add_hml_config, check_config, merge_profile, normalise_options
from maskrcnn_benchmark_hml.config_keys import KEYS
from maskrcnn_benchmark_hml.errors import HMLError

WRONG = {
    "ENABLED": "2",
    "PROFILE": "best",
    "SEED": "-1",
    "CONTROL": "magic",
    "TREE.FILE": "(1,2)",
    "TREE.BUILDER": "random",
    "TREE.VECTORS": "3",
    "TREE.THRESHOLD": "1.5",
    "TREE.LAYERS": "11",
    "TREE.BOUNDARIES": "(20,10)",
    "TREE.SKIP_WORDS": "(1,)",
    "TREE.ACTIONS": "(1,)",
    "TREE.OVERRIDES": "1",
    "STAGES.LABELS": "most",
    "STAGES.ITERATIONS": "(0,5)",
    "STAGES.INIT": "stale",
    "STAGES.OVERSAMPLE_RANKS": "(5,5)",
    "STAGES.OVERSAMPLE_REPEATS": "(0,)",
    "LOSS.CLASS_BALANCED": "yes",
    "LOSS.GAMMA": "1.0",
    "LOSS.EXPONENT": "-1",
    "LOSS.BACKGROUND_COUNT": "-2",
    "CR.WEIGHT": "-0.5",
    "CR.METRIC": "l3",
    "CR.TEMPERATURE": "0",
    "CR.CLASSES": "new",
    "CR.REDUCTION": "sum",
    "MR.WEIGHT": "-1",
    "MR.MODE": "half",
    "MR.REDUCTION": "max",
    "TEST.TAU": "1,-1",
    "TEST.PRIOR": "flat",
    "MR.EXTRACTORS": "2",
    "FISHER.MODE": "max",
    "FISHER.EMA": "1.1",
    "IMPORTANCE.INTERVAL": "-1",
    "IMPORTANCE.EPS": "1e-300",
    "IMPORTANCE.EFFECTIVE": "loss",
    "IMPORTANCE.CONTRIBUTION": "up",
    "VAL_METRIC": "mAP",
    "KEEP_STATES": "0",
    "TENSORBOARD": "maybe",
    "EXTEND": "perhaps",
    "ACCEPT_CHANGED": "SOLVER.BASE_LR",
}


def test_defaults_pass_and_every_key_has_a_wrong_value_here():
    check_config(add_hml_config(CfgNode()))
    assert set(WRONG) == {key.name for key in KEYS}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_wrong_value_is_refused_by_name(name):
    with pytest.raises(HMLError, match=f"HML.{name} is .*; give "):
        normalise_options([f"HML.{name}", WRONG[name]])


def test_unknown_key_names_the_nearest():
    with pytest.raises(HMLError, match="there is no setting HML.CR.WIEGHT; did you mean HML.CR.WEIGHT"):
        normalise_options(["HML.CR.WIEGHT", "1"])
    with pytest.raises(
        HMLError, match="there is no setting HML.wwwwwwwwwwwwwwwwwwwww; docs/settings.md lists the keys."
    ):
        normalise_options(["OUTPUT_DIR", "HML", "HML.wwwwwwwwwwwwwwwwwwwww", "1"])
    with pytest.raises(HMLError, match="HML.SEED has no value"):
        normalise_options(["HML.SEED"])
    with pytest.raises(HMLError, match="HML.CR.WEIGHT has no value"):
        normalise_options(["HML.SEED", "4", "HML.CR.WEIGHT"])


def test_only_values_that_yacs_refuses_are_rewritten():
    typed = ["HML.CR.WEIGHT", "5", "HML.MR.WEIGHT", "0.25", "HML.SEED", "7", "HML.STAGES.ITERATIONS", "(3,4)",
             "HML.LOSS.CLASS_BALANCED", "[True,False]", "HML.STAGES.LABELS", "only", "HML.CR.METRIC", "kl"]  # fmt: skip
    kept = list(typed)
    assert normalise_options(typed) == [*typed[:1], "5.0", *typed[2:11], "('only',)", *typed[12:]]
    assert typed == kept  # a new list


def test_the_lengths_of_repeats_and_ranks_agree():
    for ranks, repeats, right in (((5,), (), True), ((5, 9), (2, 3), True), ((5,), (2, 3), False), ((5, 9), (), True)):
        cfg = add_hml_config(CfgNode())
        cfg.HML.STAGES.OVERSAMPLE_RANKS, cfg.HML.STAGES.OVERSAMPLE_REPEATS = ranks, repeats
        if right:
            check_config(cfg)
        else:
            with pytest.raises(HMLError, match="OVERSAMPLE_REPEATS and .*OVERSAMPLE_RANKS differ in length"):
                check_config(cfg)


def test_settings_are_flat_and_plain():
    cfg = add_hml_config(CfgNode())
    cfg.HML.STAGES.LABELS = ("only", "all")
    found = config.settings(cfg)
    assert list(found) == [f"HML.{key.name}" for key in KEYS]
    assert found["HML.STAGES.LABELS"] == ["only", "all"] and found["HML.CR.WEIGHT"] == cfg.HML.CR.WEIGHT


def test_the_module_prints_the_settings_page():
    words = [sys.executable, "-m", "maskrcnn_benchmark_hml.config"]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    assert subprocess.run(words, env=environ, capture_output=True, text=True).stdout == config.settings_page()


def test_options_as_users_type_them():
    argv = normalise_options(
        [
            "--config-file",
            "x.yaml",
            "HML.CR.WEIGHT",
            "5",
            "HML.STAGES.LABELS",
            "only,containing",
            "HML.STAGES.ITERATIONS",
            "300",
            "HML.LOSS.CLASS_BALANCED",
            "False,True",
            "SOLVER.BASE_LR",
            "1",
        ]
    )
    assert argv[:2] == ["--config-file", "x.yaml"] and argv[-1] == "1"
    cfg = add_hml_config(CfgNode())
    cfg.merge_from_list(argv[2:-2])
    check_config(cfg)
    assert cfg.HML.CR.WEIGHT == 5.0 and cfg.HML.STAGES.LABELS == ("only", "containing")
    assert cfg.HML.STAGES.ITERATIONS == (300,) and cfg.HML.LOSS.CLASS_BALANCED == (False, True)


def test_profiles_load_and_are_found_in_options_and_files(tmp_path):
    for profile in ("paper", "released"):
        cfg = add_hml_config(CfgNode())
        merge_profile(cfg, profile)
        check_config(cfg)
        assert cfg.HML.PROFILE == profile
    plain = add_hml_config(CfgNode())
    merge_profile(plain, "paper")
    assert plain == add_hml_config(CfgNode())  # the paper's numbers are the defaults
    with pytest.raises(HMLError, match="the profiles are: .*paper"):
        merge_profile(cfg, "best")
    file = tmp_path / "run.yaml"
    file.write_text("HML:\n  PROFILE: released\n")
    assert config.requested_profile(["--config-file", str(file)], str(file)) == "released"
    assert config.requested_profile(["HML.PROFILE", "paper"], str(file)) == "paper"
    assert config.requested_profile([]) == "paper"


@pytest.mark.parametrize(
    ("argv", "text", "profile"),
    [
        (["train.py", "HML.PROFILE", "released", "HML.SEED", "3"], None, "released"),
        (["HML.PROFILE", "paper", "HML.PROFILE", "released", "SOLVER.BASE_LR", "1"], None, "released"),
        (["train.py", "HML.PROFILE"], None, "paper"),  # without a value, which normalise_options refuses
        (["train.py", "HML.PROFILE"], "HML:\n  PROFILE: released\n", "released"),
        (["HML.SEED", "1"], "HML:\n  SEED: 3\n", "paper"),
        ([], "SOLVER:\n  BASE_LR: 1\n", "paper"),
        ([], "HML: 3\n", "paper"),
    ],
)
def test_the_last_profile_asked_for_counts(tmp_path, argv, text, profile):
    file = tmp_path / "run.yaml"
    if text is not None:
        file.write_text(text)
    assert config.requested_profile(argv, str(file)) == profile
    assert config.requested_profile(argv, str(tmp_path)) == config.requested_profile(argv)
    python = tmp_path / "run.py"  # SGG-Benchmark's config files may be Python, which the host reads
    python.write_text("HML = 1")
    assert config.requested_profile(["train.py"], str(python)) == "paper"


def test_adding_twice_changes_nothing_and_frozen_stays_frozen():
    cfg = add_hml_config(CfgNode({"A": 1}))
    cfg.HML.CR.WEIGHT = 3.0
    cfg.freeze()
    assert add_hml_config(cfg).HML.CR.WEIGHT == 3.0 and cfg.is_frozen()
    frozen = CfgNode({"A": 1})
    frozen.freeze()
    assert add_hml_config(frozen).is_frozen() and not add_hml_config(CfgNode()).is_frozen()
    assert frozen.HML.STAGES.ITERATIONS == (8000, 16000) and frozen.HML.MR.WEIGHT == 0.5


def test_settings_page_is_current():
    page = Path(__file__).parents[1] / "docs" / "settings.md"
    assert page.read_text() == config.settings_page(), "run: python -m maskrcnn_benchmark_hml.config > docs/settings.md"


def test_settings_page_has_every_key_in_a_section_and_every_value_of_a_profile():
    page = config.settings_page()
    sections = page[page.index("## General") :]
    assert all(sections.count(f"| `HML.{key.name}` | `") == 1 for key in KEYS)
    assert "| `HML.MR.WEIGHT` | `0.5` | `0.5` | **`0.01`** |" in page
    assert "| `HML.STAGES.LABELS` | (empty) | **`pure_images,containing`** | (empty) |" in page
    assert "| `HML.FISHER.EMA` | `0.5` | `0.5` |" not in page  # the same in every profile
