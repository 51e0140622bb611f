"""All HML.* settings against all modes: each one acts, is named as turned off, or is refused with the remedy."""

from __future__ import annotations

import pytest
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.config import add_hml_config, merge_profile, normalise_options
from maskrcnn_benchmark_hml.config_keys import KEYS
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.experiments.grid_file import grid_names, load_grid
from maskrcnn_benchmark_hml.host.idle import check_enabled, check_idle, idle_settings, turned_off
from maskrcnn_benchmark_hml.method.tree import PredicateTree
from maskrcnn_benchmark_hml.resources import config_file
from maskrcnn_benchmark_hml.training.stages import plan_stages

from .test_bad_input import out, refused  # noqa: F401 (a fixture)

TREE = PredicateTree.load(config_file("trees/vg150_clustered.json"))
#: Another value of every setting. PROFILE is no entry: it stands for the values of its file.
OTHER = {
    "ENABLED": "True", "SEED": "1", "CONTROL": "last_stage", "TREE.FILE": "t.json", "TREE.BUILDER": "frequency",
    "TREE.VECTORS": "v.txt", "TREE.SKIP_WORDS": "of", "TREE.ACTIONS": "riding", "TREE.THRESHOLD": "0.5",
    "TREE.LAYERS": "2", "TREE.BOUNDARIES": "15", "TREE.OVERRIDES": "o.json", "STAGES.LABELS": "all,containing",
    "STAGES.ITERATIONS": "7", "STAGES.INIT": "previous", "STAGES.OVERSAMPLE_RANKS": "5,9,40",
    "STAGES.OVERSAMPLE_REPEATS": "1,2,3", "LOSS.CLASS_BALANCED": "False", "LOSS.GAMMA": "0.9", "LOSS.EXPONENT": "0.5",
    "LOSS.BACKGROUND_COUNT": "9", "CR.WEIGHT": "5", "CR.METRIC": "kl", "CR.TEMPERATURE": "2", "CR.CLASSES": "all",
    "CR.REDUCTION": "released", "MR.WEIGHT": "9", "MR.MODE": "l2", "MR.REDUCTION": "sum", "MR.EXTRACTORS": "True",
    "FISHER.MODE": "ema", "FISHER.EMA": "0.3", "IMPORTANCE.INTERVAL": "0", "IMPORTANCE.EFFECTIVE": "step",
    "IMPORTANCE.CONTRIBUTION": "released", "IMPORTANCE.EPS": "1e-20", "TEST.TAU": "1", "TEST.PRIOR": "all",
    "VAL_METRIC": "mR", "EXTEND": "True", "KEEP_STATES": "3", "ACCEPT_CHANGED": "WORLD_SIZE",
    "TENSORBOARD": "True",
}
TERMS = "CR.WEIGHT CR.METRIC CR.TEMPERATURE CR.CLASSES CR.REDUCTION MR.WEIGHT MR.MODE MR.REDUCTION STAGES.INIT"
BUILT = "TREE.VECTORS TREE.THRESHOLD TREE.SKIP_WORDS TREE.ACTIONS"
NO_TREE = f"{BUILT} TREE.OVERRIDES STAGES.LABELS LOSS.CLASS_BALANCED"
REPEATS = "STAGES.OVERSAMPLE_REPEATS STAGES.OVERSAMPLE_RANKS"
FORMULA = "LOSS.GAMMA LOSS.EXPONENT LOSS.BACKGROUND_COUNT"
#: What lacks its partner in an ordinary run.
LACKING = f"TREE.BOUNDARIES {BUILT} STAGES.OVERSAMPLE_RANKS FISHER.EMA TEST.PRIOR"
#: Mode -> its settings, what it turns off (said), what it makes act of LACKING, and what else it refuses.
MODES = {
    "two stages": ("", "", "", ""),
    "plain": ("HML.CONTROL plain", f"{TERMS} {NO_TREE} {REPEATS} {FORMULA}", f"{BUILT} STAGES.OVERSAMPLE_RANKS", ""),
    "class-balanced": ("HML.CONTROL class_balanced", f"{TERMS} {NO_TREE} {REPEATS}",
                       f"{BUILT} STAGES.OVERSAMPLE_RANKS", ""),
    "oversampled": ("HML.CONTROL oversampled", f"{TERMS} {NO_TREE} {FORMULA}", f"{BUILT} STAGES.OVERSAMPLE_RANKS", ""),
    "last stage": ("HML.CONTROL last_stage", f"{TERMS} STAGES.OVERSAMPLE_RANKS", "STAGES.OVERSAMPLE_RANKS", ""),
    "one layer": ("HML.TREE.LAYERS 1 HML.STAGES.ITERATIONS 7 HML.STAGES.LABELS containing", TERMS, "", ""),
    "no CR": ("HML.CR.WEIGHT 0", "CR.METRIC CR.TEMPERATURE CR.CLASSES CR.REDUCTION", "", ""),
    "no MR": ("HML.MR.WEIGHT 0", "MR.MODE MR.REDUCTION", "", ""),
    "plain losses": ("HML.LOSS.CLASS_BALANCED False", FORMULA, "", ""),
    "no validation": ("SOLVER.TO_VAL False", "VAL_METRIC", "", ""),
    "tree file": ("HML.TREE.FILE t.json", "TREE.BUILDER", "", ""),
    "by frequency": ("HML.TREE.BUILDER frequency", "", "TREE.BOUNDARIES TREE.VECTORS", ""),
    "by frequency, groups by vectors": ("HML.TREE.BUILDER frequency HML.TREE.VECTORS v.txt", "",
                                        "TREE.BOUNDARIES TREE.VECTORS TREE.THRESHOLD TREE.SKIP_WORDS", ""),
    "clustered": ("HML.TREE.BUILDER clustered HML.TREE.VECTORS v.txt", "", BUILT, ""),
    "only": ("HML.STAGES.LABELS only,only", "", "", "STAGES.OVERSAMPLE_REPEATS"),
    "repeats": ("HML.STAGES.OVERSAMPLE_REPEATS 1,2,3", "", "STAGES.OVERSAMPLE_RANKS", ""),
    "ema": ("HML.FISHER.MODE ema", "", "FISHER.EMA", ""),
    "released contribution": ("HML.IMPORTANCE.CONTRIBUTION released", "", "", "IMPORTANCE.EPS"),
    "adjusted tests": ("HML.TEST.TAU 1", "", "TEST.PRIOR", ""),
}


def config(*words: str, profile: str = "paper") -> CfgNode:
    cfg = add_hml_config(CfgNode({"SOLVER": CfgNode({"TO_VAL": True, "PRE_VAL": False})}))
    merge_profile(cfg, profile)
    cfg.merge_from_list(normalise_options(list(words)))
    return cfg


def stages(cfg: CfgNode) -> list:
    layers = cfg.HML.TREE.LAYERS or 2
    return plan_stages(cfg.HML, TREE.with_layers(layers), ["__background__", *TREE.predicates], "out")


def outcome(cfg: CfgNode, name: str) -> str:
    rule = idle_settings(cfg, stages(cfg)).get(name)
    return "acts" if rule is None else "refused" if rule.refused else "said"


def test_every_setting_is_in_the_table():
    assert set(OTHER) | {"PROFILE"} == {key.name for key in KEYS}


@pytest.mark.parametrize("mode", MODES)
def test_each_setting_in_this_mode(mode):
    words, off, made, more = (part.split() for part in MODES[mode])
    own = [word.removeprefix("HML.") for word in words[::2]]
    refused_here = {*LACKING.split(), *more} - {*made}
    expected, got = {}, {}
    for name, value in OTHER.items():
        if name not in own:
            expected[name] = "said" if name in off else "refused" if name in refused_here else "acts"
            alone = name == "CONTROL"  # which makes another mode of this one
            got[name] = outcome(config(*(() if alone else words), f"HML.{name}", value), name)
    assert got == expected
    assert {name: outcome(config(*words), name) for name in own} == dict.fromkeys(own, "acts")


def test_more_entries_than_stages_are_refused():
    for name, value in (("CLASS_BALANCED", "True,True,False"), ("EXPONENT", "1,1,0.5")):
        cfg = config(f"HML.LOSS.{name}", value)
        with pytest.raises(HMLError, match=f"HML.LOSS.{name} is .* no effect here: it has more entries than .* stages"):
            check_idle(cfg, stages(cfg))


@pytest.mark.parametrize("profile", ["paper", "released", "tuned"])
def test_what_a_profile_brings_is_no_ones_mistake(profile):
    for words in ([], ["HML.TREE.FILE", "t.json"], ["HML.CONTROL", "plain"], ["HML.STAGES.LABELS", "only,only"]):
        cfg = config(*words, profile=profile)
        check_idle(cfg, stages(cfg))
        assert turned_off(cfg, stages(cfg)) == []


def test_an_ablation_is_the_same_command_with_one_more_option():
    command = ["HML.CR.METRIC", "kl", "HML.CR.WEIGHT", "5", "HML.MR.MODE", "l2", "HML.STAGES.INIT", "previous"]
    for switch in (["HML.CONTROL", "plain"], ["HML.CR.WEIGHT", "0"], ["HML.MR.WEIGHT", "0"]):
        cfg = config(*command, *switch)
        check_idle(cfg, stages(cfg))
        assert turned_off(cfg, stages(cfg))
    assert turned_off(cfg, stages(cfg)) == ["HML.MR.MODE: no effect, since HML.MR.WEIGHT is 0"]


def test_no_variant_of_a_shipped_grid_is_refused():
    seen = 0
    for name in grid_names():
        for variant in load_grid(name).variants:
            if not variant.staged or variant.after:
                continue
            words = [word for key, value in variant.set.items() for word in (key, str(value))]
            profile = str(variant.set.get("HML.PROFILE", "paper"))
            lengths = ",".join(["5"] * variant.layers)
            cfg = config("HML.TREE.LAYERS", str(variant.layers), "HML.STAGES.ITERATIONS", lengths, *words,
                         profile=profile)
            check_idle(cfg, stages(cfg))
            seen += 1
    assert seen > 40


def test_a_training_without_hml_is_not_started_by_forgetting_it():
    """It trained the plain model, whatever HML settings were given."""
    with pytest.raises(HMLError, match="HML.CR.WEIGHT is given and HML.ENABLED is not.*add HML.ENABLED True"):
        check_enabled(config("HML.CR.WEIGHT", "5"), said=False)
    with pytest.raises(HMLError, match="HML.PROFILE is given"):
        check_enabled(config(profile="tuned"), said=False)
    assert check_enabled(config(), said=False) == check_enabled(config("HML.TEST.TAU", "1"), said=False) == ""
    seeded = config("HML.SEED", "3")
    seeded.SOLVER.SEED = 3  # as hml experiment gives it to every script
    assert check_enabled(seeded, said=False) == ""
    assert check_enabled(config("HML.CR.WEIGHT", "5"), said=True) == "HML.ENABLED False turns off HML.CR.WEIGHT"


def test_a_run_with_a_setting_that_lacks_its_partner_is_refused(tiny_vg, out):  # noqa: F811
    refused(tiny_vg, out, "HML.FISHER.EMA is 0.3 and has no effect here: give HML.FISHER.MODE ema, or leave it out",
            "HML.FISHER.EMA", "0.3")
