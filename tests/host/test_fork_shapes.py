"""What single forks do otherwise, at run time: another argument name, another order, a checkpoint named alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.host import hook_points, restart, settings
from maskrcnn_benchmark_hml.host.relation_losses import RelationLosses


@pytest.mark.parametrize("with_folder", [True, False])
def test_a_checkpoint_tagged_with_or_without_its_folder(tmp_path, monkeypatch, with_folder):
    class Base:
        save_dir = str(tmp_path)

        def save(self, name, **kwargs):
            path = Path(self.save_dir) / f"{name}.pth"
            path.write_bytes(b"weights")
            self.tag_last_checkpoint(str(path) if with_folder else path.name)

    written = []
    monkeypatch.setattr(restart, "write_state", lambda whole, state, keep: written.append(whole))
    settings = SimpleNamespace(HML=SimpleNamespace(KEEP_STATES=2))
    plan = SimpleNamespace(bind=lambda: None)
    driver = SimpleNamespace(cfg=settings, iteration=3, training_state=dict, plan=plan)
    restart.checkpointer_class(Base, driver)().save("model_0000003")
    whole = tmp_path / "model_0000003.pth"
    assert written == [whole] and whole.read_bytes() == b"weights" and driver.saved_iteration == 3
    assert (tmp_path / "last_checkpoint").read_text() == str(whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last_checkpoint", "model_0000003.pth"]


class SavesInFolders:
    """As in A-PFG and NoDIS: names with folders, a best file with a list of its own, further arguments of a tag."""

    def __init__(self, save_dir: Path) -> None:
        self.save_dir = str(save_dir)

    def save(self, name, is_last=True, best=False):
        path = Path(self.save_dir) / f"{name}.pth"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"weights")
        self.tag_last_checkpoint(str(path), is_last, not is_last)
        if best:
            self.tag_best_checkpoint(str(path))

    def tag_last_checkpoint(self, last_filename, is_last, is_best):
        assert is_best and not is_last, "the last one is ours"
        Path(self.save_dir, "best_checkpoint").write_text(last_filename)

    def tag_best_checkpoint(self, best_filename):
        Path(self.save_dir, "best_checkpoint").write_text(best_filename)

    def get_checkpoint_file(self, is_val=False):
        return Path(self.save_dir, "best_checkpoint").read_text() if is_val else "not ours"


def test_a_checkpointer_with_a_best_file_and_names_with_folders(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(restart, "write_state", lambda whole, state, keep: written.append(whole))
    driver = SimpleNamespace(cfg=SimpleNamespace(HML=SimpleNamespace(KEEP_STATES=2)), iteration=3, training_state=dict,
                             plan=SimpleNamespace(bind=lambda: None))
    checkpointer = restart.checkpointer_class(SavesInFolders, driver)(tmp_path)
    last, best = tmp_path / "epoch1" / "model.pth", tmp_path / "best" / "model.pth"
    checkpointer.save("best/model", is_last=False)
    assert not written and checkpointer.get_checkpoint_file(is_val=True) == str(best) and best.is_file()
    checkpointer.save("epoch1/model", best=True)
    assert written == [last] and checkpointer.get_checkpoint_file() == str(last)
    assert checkpointer.get_checkpoint_file(True) == str(last)
    assert not list(tmp_path.rglob("*.part*"))


class OneHotPredictor(nn.Module):
    """As T-CAR's: one-hot labels stand in the place of the relation logits in training; its loss is among the added."""

    def forward(self, proposals, rel_pair_idxs, rel_labels, rel_binarys, roi_features, union_features, logger=None):
        logits = nn.functional.one_hot(torch.cat(rel_labels), 4).float()
        return roi_features, logits, {"own": union_features.sum()}


def test_logits_without_a_gradient_are_refused_at_the_first_step():
    head = SilentHead(OneHotPredictor())
    RelationLosses(SimpleNamespace(), 4).attach(head)
    with pytest.raises(HMLError, match="logits of OneHotPredictor carry no gradient in training.*PREDICTOR, or HML"):
        head(None, None, [torch.tensor([1, 0])], None, None, torch.randn(2, 4, requires_grad=True))


class SilentPredictor(nn.Module):
    """As SHA-GCL's: its own losses, no logits in training."""

    def __init__(self) -> None:
        super().__init__()
        self.criterion_loss = nn.CrossEntropyLoss()

    def forward(self, proposals, rel_pair_idxs, rel_labels, rel_binarys, roi_features, union_features, logger=None):
        added = {"obj_loss": self.criterion_loss(roi_features, torch.zeros(len(roi_features), dtype=torch.int64))}
        added["rel_loss"] = self.criterion_loss(union_features, torch.cat(rel_labels))
        return None, None, added


class SilentHead(nn.Module):
    def __init__(self, predictor: nn.Module) -> None:
        super().__init__()
        self.predictor, self.loss_evaluator = predictor, None

    def forward(self, *args):
        return self.predictor(*args)


def test_a_predictor_without_logits_hands_them_to_its_criterion():
    head, seen = SilentHead(SilentPredictor()), []
    losses = RelationLosses(SimpleNamespace(
        relation_loss=lambda logits, labels: torch.tensor(7.0),
        on_forward=lambda call, logits: seen.append(logits) or {"loss_cr": torch.tensor(1.0)},
    ), 4)
    losses.attach(head)
    objects, relations = torch.randn(3, 9), torch.randn(5, 4, requires_grad=True)
    pairs = [torch.zeros(2, 2, dtype=torch.int64), torch.zeros(3, 2, dtype=torch.int64)]
    labels = [torch.tensor([0, 1]), torch.tensor([1, 2, 3])]
    _, _, given = head(None, pairs, labels, None, objects, relations)
    assert given["rel_loss"] == 7 and given["obj_loss"] != 7
    assert len(seen) == 1 and seen[0] is relations
    losses.call.own_logits = None
    with pytest.raises(HMLError, match="SilentPredictor gives no relation logits in training"):
        head(None, pairs, labels, None, objects, torch.randn(5, 6))  # a loss over other classes


class CallsEvaluator(nn.Module):
    def forward(self, logits):
        return self.loss_evaluator(logits)


class NamesItInAComment(nn.Module):
    def forward(self, logits):
        # return self.loss_evaluator(logits)
        return logits


class NamesItInTheDocstring(nn.Module):
    def forward(self, logits):
        """
A line from column 0: the predictor has done what self.loss_evaluator(logits) does in SGB.
        """
        return logits


@pytest.mark.parametrize("head, calls", [(CallsEvaluator, True), (NamesItInAComment, False),
                                         (NamesItInTheDocstring, False), (SilentPredictor, False)])
def test_only_a_call_of_the_loss_evaluator_counts(head, calls):
    assert hook_points.calls_loss_evaluator(head()) is calls


@pytest.mark.parametrize("choice", ["VG", "GQA_200"])
def test_settings_kept_once_per_dataset(choice):
    cfg = {
        "DATASETS": {"VG_TRAIN": ("a",), "GQA_200_TRAIN": ("b", "c")},
        "MODEL": {"ROI_RELATION_HEAD": {"VG_NUM_CLASSES": 51, "GQA_200_NUM_CLASSES": 101, "PREDICTOR": "X"}},
        "GLOBAL_SETTING": {"DATASET_CHOICE": choice, "RELATION_PREDICTOR": "Y"},
    }
    assert settings.class_count(cfg) == {"VG": 51, "GQA_200": 101}[choice]
    assert settings.class_count_key(cfg) == f"MODEL.ROI_RELATION_HEAD.{choice}_NUM_CLASSES"
    assert settings.training_sets(cfg) == {"VG": ["a"], "GQA_200": ["b", "c"]}[choice]
    assert settings.predictor_name(cfg) == "Y"


def test_settings_as_sgb_has_them():
    head = {"NUM_CLASSES": 51, "PREDICTOR": "X"}
    cfg = {"DATASETS": {"TRAIN": ("a",)}, "MODEL": {"ROI_RELATION_HEAD": head}}
    assert (settings.class_count(cfg), settings.training_sets(cfg), settings.predictor_name(cfg)) == (51, ["a"], "X")
