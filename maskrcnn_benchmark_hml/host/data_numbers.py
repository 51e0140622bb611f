"""A run's data before it starts: its files, and the numbers of classes that a host asserts without a word."""

from __future__ import annotations

from collections.abc import Iterator

from yacs.config import CfgNode

from ..datasets.layout import Vocabulary
from ..datasets.run_check import check_files
from ..errors import HMLError
from . import hook_points
from . import settings as host_settings
from .environment import say
from .own_pictures import check_own_pictures, counted_before
from .values import value


def check_data(cfg: CfgNode, trains: bool) -> None:
    """Check the datasets that a run will read; one of another format than Visual Genome's is left to the host.

    Args:
        trains: whether the script trains, or only tests; a test reads the training set's statistics too.

    Raises:
        HMLError: a dataset is unknown, a file cannot be read or is wrong, or a number of classes is another.
    """
    training = host_settings.training_sets(cfg)
    if not training:
        raise HMLError("DATASETS.TRAIN names no dataset; give one with the configuration (--config-file FILE)")
    own_pictures = bool(value(cfg, "TEST.CUSTUM_EVAL"))
    if own_pictures and not trains:
        check_own_pictures(cfg)
    others = [] if own_pictures else [*(cfg.DATASETS.get("VAL", ()) if trains else ()), *cfg.DATASETS.get("TEST", ())]
    checked: dict[tuple[str, str, str], Vocabulary] = {}
    for name in dict.fromkeys([*training, *others]):
        files = hook_points.dataset_files(cfg, name)
        if own_pictures and not trains and files is not None and counted_before(cfg, training, files[0]):
            continue
        if files is not None and files not in checked:
            checked[files], notes = check_files(*files)
            for note in notes:
                say(note)
        if files is not None and name in training:
            for sentence in wrong_numbers(cfg, checked[files], name):
                raise HMLError(sentence)


def wrong_numbers(cfg: CfgNode, names: Vocabulary, dataset: str) -> Iterator[str]:
    """One sentence for each number of classes that is not the data's."""
    expected = [("MODEL.ROI_BOX_HEAD.NUM_CLASSES", names.objects, "object classes")]
    if value(cfg, "MODEL.RELATION_ON"):
        expected.append((host_settings.class_count_key(cfg), names.predicates, "predicates"))
        if hook_points.asserts_attributes(host_settings.predictor_name(cfg)):
            expected.append(("MODEL.ROI_ATTRIBUTE_HEAD.NUM_ATTRIBUTES", names.attributes, "attributes"))
    for key, of_data, what in expected:
        given = value(cfg, key)
        if given is not None and given != len(of_data) + 1:
            yield (f"{key} is {given}, but {dataset} has {len(of_data) + 1} {what} with the background; add {key} "
                   f"{len(of_data) + 1} (set it to {len(of_data) + 1})")
