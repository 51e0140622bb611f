"""The smallest checkout that has every hook point: files that are read by syntax only, never run."""

from __future__ import annotations

from pathlib import Path

from maskrcnn_benchmark_hml.host.doctor.hook_point_checks import KEYS

HEAD = "maskrcnn_benchmark/modeling/roi_heads/relation_head"
SCRIPT = "tools/relation_train_net.py"
BUILD = "maskrcnn_benchmark/data/build.py"
VG = "maskrcnn_benchmark/data/datasets/visual_genome.py"
CHECKPOINT = "maskrcnn_benchmark/utils/checkpoint.py"
DEFAULTS = "maskrcnn_benchmark/config/defaults.py"
CATALOG = "maskrcnn_benchmark/config/paths_catalog.py"
RELATION_HEAD, SAMPLING, PREDICTORS = (
    f"{HEAD}/{name}.py" for name in ("relation_head", "sampling", "roi_relation_predictors"))

FILES = {
    "maskrcnn_benchmark/__init__.py": "",
    DEFAULTS: "".join(f"_C.{key} = None\n" for key in KEYS),
    SCRIPT: """\
from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.engine.inference import inference
from maskrcnn_benchmark.engine.trainer import reduce_loss_dict
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.solver import make_lr_scheduler, make_optimizer
from maskrcnn_benchmark.utils.checkpoint import DetectronCheckpointer, clip_grad_norm

try:
    from apex import amp
except ImportError:
    raise


def train(cfg, local_rank, distributed, logger):
    loader = make_data_loader(cfg, mode="train", start_iter=0)
    for step, (images, targets, _) in enumerate(loader, 0):
        losses = model(images, targets)
        reduced = reduce_loss_dict(losses)
        with amp.scale_loss(sum(losses.values()), optimizer) as scaled:
            scaled.backward()
        clip_grad_norm(model.named_parameters(), max_norm=5, logger=logger)
        optimizer.step()
        scheduler.step()


def run_val(cfg, model, loaders, distributed, logger):
    return inference(cfg, model, loaders)


def main():
    cfg.merge_from_list([])
    train(cfg, 0, False, None)


if __name__ == "__main__":
    main()
""",
    BUILD: """\
def get_dataset_statistics(cfg):
    return cfg.OUTPUT_DIR + "/" + "".join(cfg.DATASETS.TRAIN) + "_statistics" + ".cache"


def build_dataset(cfg, names, transforms, catalog, is_train=True):
    return []


def make_data_loader(cfg, mode="train", is_distributed=False, start_iter=0):
    return build_dataset(cfg, [], None, None)
""",
    VG: """\
class VGDataset:
    def __init__(self, split, img_dir, roidb_file, dict_file, image_file, transforms=None, num_val_im=5000):
        self.filenames, self.img_info = [], []
        self.split_mask, self.gt_boxes, self.gt_classes, self.gt_attributes, self.relationships = load(roidb_file)

    def get_statistics(self):
        return {}

    def get_img_info(self, index):
        return self.img_info[index]

    def get_groundtruth(self, index, evaluation=False):
        return None
""",
    CATALOG: """\
import os

ROOT = "datasets"


class DatasetCatalog:
    DATA_DIR = ROOT + "/vg"
    DATASETS = {
        "coco": {"img_dir": "coco"},
        "VG_stanford_filtered": {"img_dir": "other"},
        "VG_stanford_filtered_with_attribute": {
            "roidb_file": "VG-SGG-with-attri.h5", "dict_file": "VG-SGG-dicts-with-attri.json",
            "image_file": os.path.join("image_data.json"), "img_dir": "VG_100K",
        },
    }
""",
    CHECKPOINT: """\
class Checkpointer:
    def save(self, name, **kwargs):
        path = self.save_dir + name
        torch.save(kwargs, path)
        self.tag_last_checkpoint(path)

    def load(self, f=None, with_optim=True, update_schedule=False, load_mapping={}):
        return {}

    def has_checkpoint(self):
        return False

    def get_checkpoint_file(self):
        return ""

    def tag_last_checkpoint(self, last_filename):
        pass


class DetectronCheckpointer(Checkpointer):
    pass


def clip_grad_norm(named_parameters, max_norm, logger, clip=False, verbose=False):
    return 0.0
""",
    RELATION_HEAD: """\
class ROIRelationHead:
    def __init__(self, cfg, in_channels):
        self.predictor = self.samp_processor = self.loss_evaluator = None
        self.box_feature_extractor = self.union_feature_extractor = None

    def forward(self, features, proposals, targets=None, logger=None):
        if self.training:
            proposals, labels, pairs, binaries = self.samp_processor.gtbox_relsample(proposals, targets)
        else:
            labels, binaries, pairs = None, None, self.samp_processor.prepare_test_pairs(0, proposals)
        roi_features = self.box_feature_extractor(features, proposals)
        union_features = self.union_feature_extractor(features, proposals, pairs)
        objects, relations, added = self.predictor(proposals, pairs, labels, binaries, roi_features, union_features)
        loss_relation, loss_refine = self.loss_evaluator(proposals, labels, relations, objects)
        return roi_features, proposals, added
""",
    SAMPLING: """\
class RelationSampling:
    def gtbox_relsample(self, proposals, targets):
        return proposals, labels, pairs, binaries

    def detect_relsample(self, proposals, targets):
        return proposals, labels, pairs, binaries
""",
    PREDICTORS: """\
@registry.ROI_RELATION_PREDICTOR.register("MotifPredictor")
class MotifPredictor:
    def forward(self, proposals, rel_pair_idxs, rel_labels, rel_binarys, roi_features, union_features, logger=None):
        if self.attribute_on:
            return (objects, attributes), relations, added
        return objects, relations, added


@registry.ROI_RELATION_PREDICTOR.register("OtherPredictor")
class OtherPredictor(MotifPredictor):
    pass


def make_roi_relation_predictor(cfg, in_channels):
    return registry.ROI_RELATION_PREDICTOR[cfg.MODEL.ROI_RELATION_HEAD.PREDICTOR](cfg, in_channels)
""",
}


def make_checkout(root: Path, *edits: tuple[str, str, str], without: str = "") -> Path:
    """Write the stand-in; each edit is (file, old text, new text), and one file can be left out."""
    files = dict(FILES)
    for name, old, new in edits:
        assert old in files[name], f"{name} does not hold {old!r}"
        files[name] = files[name].replace(old, new)
    for name, text in files.items():
        if name != without:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return root
