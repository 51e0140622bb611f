"""The host's cache of training statistics: counted by one rank, written aside, made again where it is cut short."""

from __future__ import annotations

import logging
import os
from types import SimpleNamespace

import pytest
import torch

from maskrcnn_benchmark_hml.compat import statistics
from maskrcnn_benchmark_hml.errors import HMLError

RESULT = {"fg_matrix": torch.arange(9000.0), "rel_classes": ["__background__", "on"]}


@pytest.mark.parametrize("rank", [0, 1])
def test_statistics_are_counted_once_and_in_order(monkeypatch, rank):
    events: list[str] = []
    module = SimpleNamespace(get_dataset_statistics=lambda cfg: events.append("count") or {"n": 1})
    statistics.statistics_once(module)
    assert module.get_dataset_statistics(None) == {"n": 1} and events == ["count"]
    events.clear()
    for name, value in (("is_initialized", True), ("get_world_size", 2), ("get_rank", rank)):
        monkeypatch.setattr(torch.distributed, name, lambda value=value: value)
    monkeypatch.setattr(torch.distributed, "barrier", lambda: events.append("barrier"))
    assert module.get_dataset_statistics(None) == {"n": 1}
    assert events == (["count", "barrier"] if rank == 0 else ["barrier", "count"])


def test_a_test_alone_has_its_folder_made(tmp_path):
    cache = tmp_path / "new" / "VG_train_statistics.cache"
    module = SimpleNamespace(get_dataset_statistics=lambda cfg: torch.save(RESULT, str(cache)) or RESULT)
    statistics.statistics_once(module)
    assert module.get_dataset_statistics(SimpleNamespace(OUTPUT_DIR=str(cache.parent))) is RESULT and cache.is_file()


@pytest.fixture
def host(tmp_path):
    """As SGB's data/build.py: loads the cache if there is one, else counts and saves; ``counted`` notes each count."""
    cache, counted = tmp_path / "VG_train_statistics.cache", []

    def get_dataset_statistics(cfg):
        if cache.exists():
            return torch.load(cache, weights_only=True)
        counted.append(1)
        torch.save(RESULT, str(cache))
        return RESULT

    module = SimpleNamespace(get_dataset_statistics=get_dataset_statistics)
    statistics.statistics_once(module)
    cfg = SimpleNamespace(OUTPUT_DIR=str(tmp_path))
    return SimpleNamespace(get=lambda: module.get_dataset_statistics(cfg), cfg=cfg, cache=cache, counted=counted)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("keep", [0, 100, 30000])
def test_a_cut_cache_is_made_again(host, caplog, keep, legacy):
    torch.save(RESULT, host.cache, _use_new_zipfile_serialization=not legacy)
    assert torch.equal(host.get()["fg_matrix"], RESULT["fg_matrix"]) and not host.counted  # whole: read
    host.cache.write_bytes(host.cache.read_bytes()[:keep])
    with caplog.at_level(logging.WARNING):
        assert torch.equal(host.get()["fg_matrix"], RESULT["fg_matrix"])
    assert host.counted == [1] and "was cut short" in caplog.text
    assert torch.load(host.cache, weights_only=True)["rel_classes"] == RESULT["rel_classes"]


def test_a_cache_of_the_hosts_own_types_stays(host):
    torch.save({"classes": SimpleNamespace(a=1)}, host.cache)  # what weights_only refuses
    before = host.cache.read_bytes()
    statistics.remove_cut_caches(host.cache.parent)
    assert host.cache.read_bytes() == before


def test_a_stopped_write_leaves_no_cache(host, monkeypatch):
    save = torch.save

    def stopped(obj, f, *args, **kwargs):
        save(obj, f, *args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        host.get()
    assert list(host.cache.parent.iterdir()) == [] and torch.save is stopped


def test_a_cut_cache_that_cannot_be_removed_is_named(host, monkeypatch):
    host.cache.write_bytes(b"")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(host.cache), "unlink", refuse)
    with pytest.raises(HMLError, match="is cut short .* cannot be removed"):
        host.get()


@pytest.fixture
def annotated(host, tmp_path, monkeypatch):
    """The same host with a catalog, whose one dataset has two annotation files."""
    for name in ("a.h5", "a.json"):
        (tmp_path / name).write_text("annotations")
        os.utime(tmp_path / name, (1000, 1000))

    class Catalog:
        @staticmethod
        def get(name, cfg):
            assert name.count("VG") < 2, "SGB asserts that a VG name ends in a split"
            if name not in ("VG_train", "own_train"):
                raise RuntimeError(f"Dataset not available: {name}")
            return {"args": {"roidb_file": cfg.h5, "dict_file": str(tmp_path / "a.json"), "split": "train",
                             "img_dir": str(tmp_path), "num_val_im": 5000}}

    module = SimpleNamespace(import_file=lambda *args: SimpleNamespace(DatasetCatalog=Catalog))
    monkeypatch.setattr(statistics.importlib, "import_module", lambda name: module)
    host.cfg.PATHS_CATALOG, host.cfg.h5 = "catalog.py", str(tmp_path / "a.h5")
    return host


@pytest.mark.parametrize("ours", [True, False])
def test_a_cache_older_than_the_annotations_is_made_again(annotated, tmp_path, caplog, ours):
    """SGB uses a cache for ever: the frequency bias then has counts of annotations that are gone."""
    if ours:
        annotated.get()
    else:  # of SGB alone, which does not note what it counted
        torch.save(RESULT, annotated.cache)
    counted = len(annotated.counted)
    (tmp_path / "of_another_dataset_statistics.cache").write_bytes(annotated.cache.read_bytes())
    assert annotated.get() and len(annotated.counted) == counted and not caplog.text
    later = annotated.cache.stat().st_mtime_ns + 10**9
    os.utime(tmp_path / "a.h5", ns=(later, later))
    with caplog.at_level(logging.WARNING):
        annotated.get()
    assert len(annotated.counted) == counted + 1 and "was counted in other files than" in caplog.text
    assert "a.h5" in caplog.text and (tmp_path / "of_another_dataset_statistics.cache").exists()
    annotated.get()
    assert len(annotated.counted) == counted + 1


def test_a_cache_of_other_files_is_made_again(annotated, tmp_path, caplog):
    """--data names another folder with older files."""
    annotated.get()
    (tmp_path / "b.h5").write_text("other annotations")
    os.utime(tmp_path / "b.h5", (500, 500))
    annotated.cfg.h5 = str(tmp_path / "b.h5")
    assert torch.equal(annotated.get()["fg_matrix"], RESULT["fg_matrix"])
    assert annotated.counted == [1, 1] and "b.h5" in caplog.text


def test_a_cache_of_several_training_sets_belongs_to_all_of_them(annotated, tmp_path, caplog):
    """The host joins their names; that is no name of its catalog."""
    together = annotated.cache.with_name("VG_trainVG_trainown_train_statistics.cache")
    annotated.cfg.DATASETS = SimpleNamespace(TRAIN=("VG_train", "VG_train", "own_train"))
    torch.save(RESULT, together)
    annotated.get()
    assert together.exists()
    later = together.stat().st_mtime_ns + 10**9
    os.utime(tmp_path / "a.h5", ns=(later, later))
    annotated.cfg.DATASETS = SimpleNamespace(TRAIN=("VG_train",))
    annotated.get()  # another run's: of no dataset that this catalog has
    assert together.exists()
    annotated.cfg.DATASETS = SimpleNamespace(TRAIN=("VG_train", "VG_train", "own_train"))
    annotated.get()
    assert not together.exists() and together.name in caplog.text


def test_a_cache_stands_for_annotations_that_are_not_there(annotated, tmp_path):
    """A test on the user's own pictures needs the names alone."""
    annotated.get()
    (tmp_path / "a.h5").unlink()
    assert torch.equal(annotated.get()["fg_matrix"], RESULT["fg_matrix"]) and annotated.counted == [1]
