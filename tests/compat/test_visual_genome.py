"""The dataset class on folders that are not Visual Genome, and the three causes of the failed assertion."""

from __future__ import annotations

import json
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from maskrcnn_benchmark_hml.compat import visual_genome
from maskrcnn_benchmark_hml.compat.visual_genome import dataset_other_than_vg
from maskrcnn_benchmark_hml.errors import HMLError

UNREADABLE = 1592


def host_module():
    def load_image_filenames(img_dir, image_file):
        assert len(img_dir) == 108073

    module = SimpleNamespace(load_image_filenames=load_image_filenames)

    class VGDataset:
        def __init__(self, split, img_dir, roidb_file, dict_file, image_file, num_val_im=5000, custom_eval=False):
            self.num_val_im = num_val_im
            listing = ([], []) if custom_eval else module.load_image_filenames(img_dir, image_file)
            self.filenames, self.img_info = listing

    module.VGDataset = VGDataset
    dataset_other_than_vg(module)
    return module


@pytest.fixture
def folder(tmp_path):
    """Six images, five of them for training; ``write`` remakes it with other contents."""

    def write(ids=range(1, 7), listed=None, train=None, stored=None):
        photos = tmp_path / "VG_100K"
        photos.mkdir(exist_ok=True)
        for image in ids:
            (photos / f"{image}.jpg").write_bytes(b"")
        ids = list(ids)
        split = np.zeros(len(ids), dtype=np.int32)
        split[(len(ids) - 1) if train is None else train :] = 2
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["split"] = split
            file["img_to_first_rel"] = np.zeros(len(ids), dtype=np.int32)
            if stored is not None:
                file.attrs["num_val_images"] = stored
        entries = [{"image_id": i, "width": 4, "height": 3} for i in (ids if listed is None else listed)]
        (tmp_path / "image_data.json").write_text(json.dumps(entries))
        return tmp_path

    return write


def build(root, **changes):
    given = dict(split="train", img_dir=str(root / "VG_100K"), roidb_file=str(root / "a.h5"), dict_file="")
    return host_module().VGDataset(**{**given, "image_file": str(root / "image_data.json"), **changes})


def test_any_number_of_images(folder):
    dataset = build(folder())
    assert [name.rsplit("/", 1)[1] for name in dataset.filenames] == [f"{i}.jpg" for i in range(1, 7)]
    assert dataset.img_info[0]["width"] == 4


def test_validation_size_follows_the_dataset(folder):
    assert build(folder(stored=2)).num_val_im == 2
    assert build(folder(), num_val_im=3).num_val_im == 3
    assert 1 <= build(folder(), num_val_im=5000).num_val_im < 5000
    assert build(folder(), num_val_im=0).num_val_im == 0


def test_a_dataset_as_large_as_vg_keeps_5000(folder, monkeypatch):
    root = folder()
    with h5py.File(root / "a.h5", "w") as file:
        file["split"] = np.zeros(20000, dtype=np.int32)
        file["img_to_first_rel"] = np.zeros(20000, dtype=np.int32)
    assert visual_genome.read_facts(str(root / "a.h5"))[1] == 5000


def test_images_without_relations_do_not_count_for_the_validation_size(folder):
    root = folder()
    with h5py.File(root / "a.h5", "w") as file:
        file["split"] = np.zeros(60, dtype=np.int32)
        file["img_to_first_rel"] = np.where(np.arange(60) < 40, 0, -1)
    assert visual_genome.read_facts(str(root / "a.h5"))[1] == 4


def test_vgs_unreadable_pictures_are_left_out_when_the_annotations_do(folder):
    ids = [1, 2, 3]
    assert len(build(folder(ids=ids, listed=[1, UNREADABLE, 2, 3])).filenames) == 3


def test_the_same_ids_in_another_dataset_are_kept(folder):
    assert len(build(folder(ids=[1, UNREADABLE, 3])).filenames) == 3


def test_missing_pictures_are_named_with_the_two_folders(folder):
    root = folder()
    (root / "VG_100K" / "4.jpg").unlink()
    with pytest.raises(HMLError, match=r"4\.jpg is missing .*1 of 6 .*VG_100K_2"):
        build(root)


def test_a_foreign_image_list_is_named(folder):
    with pytest.raises(HMLError, match="lists 4 images but the annotation file covers 6"):
        build(folder(listed=[1, 2, 3, 4]))


def test_missing_folder_and_missing_or_torn_annotations(folder):
    root = folder()
    with pytest.raises(HMLError, match="picture folder"):
        build(root, img_dir=str(root / "nowhere"))
    with pytest.raises(HMLError, match="does not exist"):
        build(root, roidb_file=str(root / "b.h5"))
    (root / "a.h5").write_bytes(b"torn")
    with pytest.raises(HMLError, match="is a text file, not an HDF5 file"):
        build(root)
    (root / "a.h5").unlink()
    with h5py.File(root / "a.h5", "w") as file:
        file["other"] = [1]
    with pytest.raises(HMLError, match="has no array 'split'"):
        build(root)


def test_custom_images_need_no_annotations(folder):
    assert build(folder(), roidb_file="absent.h5", custom_eval=True).filenames == []


def test_a_forks_own_listing_without_the_assertion_stays(folder):
    own = lambda img_dir, image_file: ([], [])  # noqa: E731
    module = SimpleNamespace(load_image_filenames=own, VGDataset=type("VGDataset", (), {"__init__": lambda self: None}))
    dataset_other_than_vg(module)
    root = folder(ids=[1, 2])
    given = str(root / "VG_100K"), str(root / "image_data.json")
    assert module.load_image_filenames(*given) == ([], [])
    (root / "VG_100K" / "2.jpg").rename(root / "VG_100K" / "2.png")  # which the fork's own would not find
    assert [name.rsplit("/", 1)[1] for name in module.load_image_filenames(*given)[0]] == ["1.jpg", "2.png"]
    module.VGDataset()
    before = module.VGDataset.__init__
    dataset_other_than_vg(module)
    assert module.VGDataset.__init__ is before


def test_unsigned_boxes_are_refused(folder):
    root = folder()
    with h5py.File(root / "a.h5", "a") as file:
        file["boxes_1024"] = np.ones((3, 4), dtype=np.uint16)
    with pytest.raises(HMLError, match="'boxes_1024' hold unsigned integers, .* hml data clean .* makes them signed"):
        build(root)


def test_training_images_without_a_pair_are_left_out_but_for_visual_genome(folder, monkeypatch, caplog):
    root = folder(train=6)
    boxes = [np.array([[0, 0, 500, 500], [10, 10, 900, 700]])] * 6
    boxes[2] = np.array([[0, 0, 500, 500], [1500, 10, 1600, 700]])
    module = host_module()
    original = module.VGDataset.__init__.__wrapped__

    class Loaded(module.VGDataset):
        def __init__(self, split, img_dir, roidb_file, dict_file, image_file, num_val_im=5000, custom_eval=False):
            original(self, split, img_dir, roidb_file, dict_file, image_file, num_val_im, custom_eval)
            self.roidb_file, self.split_mask, self.gt_boxes = roidb_file, np.ones(6, dtype=bool), boxes
            self.gt_classes = self.gt_attributes = self.relationships = list(range(6))

    module.VGDataset = Loaded
    dataset_other_than_vg(module)
    given = dict(img_dir=str(root / "VG_100K"), roidb_file=str(root / "a.h5"), dict_file="",
                 image_file=str(root / "image_data.json"))  # fmt: skip
    data = module.VGDataset("train", **given)
    assert data.relationships == [0, 1, 3, 4, 5] and len(data.filenames) == 5 and not data.split_mask[2]
    assert "1 of 6 training images" in caplog.text
    assert len(module.VGDataset("test", **given).relationships) == 6
    monkeypatch.setattr(visual_genome, "HOST_IMAGE_COUNT", 6)
    assert len(module.VGDataset("train", **given).relationships) == 6


def test_boxes_that_never_touch_name_the_option(folder):
    root = folder()
    module = host_module()
    original = module.VGDataset.__init__.__wrapped__

    class Filtered(module.VGDataset):
        def __init__(self, split, img_dir, roidb_file, dict_file, image_file, num_val_im=5000, filter_non_overlap=True):
            original(self, split, img_dir, roidb_file, dict_file, image_file, num_val_im)
            self.gt_boxes = []

    module.VGDataset = Filtered
    dataset_other_than_vg(module)
    given = ("train", str(root / "VG_100K"), str(root / "a.h5"), "", str(root / "image_data.json"))
    module.VGDataset(*given)  # as the host's statistics call it, in every task
    with pytest.raises(HMLError, match="joins boxes that overlap, .*REQUIRE_BOX_OVERLAP False"):
        module.VGDataset(*given, filter_non_overlap=True)
