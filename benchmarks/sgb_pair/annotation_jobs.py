"""Jobs on annotations alone: loading and statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from maskrcnn_benchmark_hml.datasets.layout import DICTS_NAME, H5_NAME, IMAGES_NAME, PHOTOS_NAME
from maskrcnn_benchmark_hml.host import launch
from maskrcnn_benchmark_hml.host.locate import locate
from sgb_pair.turns import Turns


def _files(root: str, options: dict[str, Any]) -> dict[str, str]:
    launch.enter(locate(None if root == "embedded" else root))
    names = {"img_dir": PHOTOS_NAME, "roidb_file": H5_NAME, "dict_file": DICTS_NAME, "image_file": IMAGES_NAME}
    return {key: str(Path(options["data"], name)) for key, name in names.items()}


def load(root: str, options: dict[str, Any], turns: Turns) -> None:
    """The training split's boxes, classes, attributes and relations, image by image; ``overlap``: with the filter."""
    files, overlap = _files(root, options), options["overlap"]
    if root == "embedded":
        from maskrcnn_benchmark.data.datasets.vg_files import per_image, read_annotations

        def work() -> list[Any]:
            data = read_annotations(files["roidb_file"], "train", filter_non_overlap=overlap)
            of_boxes = (data.boxes, data.labels, data.attributes)
            lists = [per_image(values, data.first_box, data.end_box) for values in of_boxes]
            return [data.split_mask, *lists, per_image(data.relations, data.first_rel, data.end_rel)]
    else:
        from maskrcnn_benchmark.data.datasets.visual_genome import load_graphs

        def work() -> list[Any]:
            return load_graphs(files["roidb_file"], "train", -1, options["validation"], True, overlap)

    turns.each(lambda: turns.facts.update(images=len(work()[1])))


def dataset(root: str, options: dict[str, Any], turns: Turns) -> None:
    """The whole ``VGDataset`` of the training split, list of pictures included."""
    files = _files(root, options)
    from maskrcnn_benchmark.data.datasets import VGDataset

    turns.each(lambda: VGDataset("train", **files, num_val_im=options["validation"]))


def statistics(root: str, options: dict[str, Any], turns: Turns) -> None:
    """The counts behind the frequency bias, from the files."""
    files = _files(root, options)
    if root == "embedded":
        from maskrcnn_benchmark.data.datasets import VGDataset

        def work() -> Any:
            return VGDataset.count_statistics(**files, num_val_im=options["validation"])
    else:
        from maskrcnn_benchmark.data.datasets.visual_genome import get_VG_statistics

        def work() -> Any:
            return get_VG_statistics(**files, must_overlap=True)

    turns.each(work)
