"""The teacher answers with its head's own forward on the student's sample, in the shapes that forks have.

Each stand-in is a small relation head of our own. Teacher and student have equal weights, so CR has to be 0 although
the sampler draws at random.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.host.relation_losses import RelationLosses
from maskrcnn_benchmark_hml.host.replay import Replay, watch_samplers
from maskrcnn_benchmark_hml.host.self_check import SelfCheck
from maskrcnn_benchmark_hml.training.teacher import Teacher, copy_module

C, D = 4, 5


class Sampler:
    """Draws pairs at random, as SGB's does."""

    def gtbox_relsample(self, proposals, targets):
        pairs = [torch.randint(len(p), (6, 2)) for p in proposals]
        return proposals, [torch.randint(C, (6,)) for _ in pairs], pairs, [None for _ in pairs]


class OwnSampler(Sampler):
    def relation_gtbox_relsample(self, proposals, targets):
        return super().gtbox_relsample(proposals, targets)

    def gtbox_relsample(self, proposals, targets):
        raise AssertionError("the fork has its own")


class Predictor(nn.Module):
    def __init__(self, rows: int = 2 * D) -> None:
        super().__init__()
        self.out, self.drop = nn.Linear(rows, C), nn.Dropout(0.5)

    def rows(self, pairs, roi, union) -> Tensor:
        return torch.cat([roi[pair[:, 0]] + union[i] for i, pair in enumerate(pairs)])

    def forward(self, proposals, rel_pair_idxs, rel_labels, rel_binarys, roi_features, union_features, logger=None):
        return None, self.drop(self.out(self.rows(rel_pair_idxs, roi_features, union_features))), {}


class Five(Predictor):
    def forward(self, inst_proposals, rel_pair_idxs, rel_labels, rel_binarys, roi_features, union_features):
        out = super().forward(inst_proposals, rel_pair_idxs, rel_labels, rel_binarys, roi_features, union_features)
        return (*out, "a fourth", "a fifth")


class Head(nn.Module):
    """As SGB's."""

    def __init__(self, predictor: nn.Module, sampler: Sampler | None = None) -> None:
        super().__init__()
        self.predictor, self.samp_processor = predictor, sampler or Sampler()
        self.box, self.union = nn.Linear(3, 2 * D), nn.Linear(3, 2 * D)
        self.loss_evaluator = lambda proposals, rel_labels, relation_logits, refine_logits: (relation_logits.sum(), 0)

    def box_feature_extractor(self, features, proposals):
        return self.box(torch.cat([features[0] + p for p in proposals]))

    def union_feature_extractor(self, features, proposals, pairs):
        return self.union(torch.stack([features[0].mean(0) + p.mean(0) for p in proposals]))

    def sample(self, proposals, targets):
        return self.samp_processor.gtbox_relsample(proposals, targets)

    def after_predictor(self, logits, pairs):
        return logits

    def forward(self, features, proposals, targets=None, logger=None):
        assert self.training
        with torch.no_grad():
            proposals, labels, pairs, binaries = self.sample(proposals, targets)
        roi, union = self.box_feature_extractor(features, proposals), self.union_of(features, proposals, pairs)
        out = self.predictor(proposals, pairs, labels, binaries, roi, union)
        logits = self.after_predictor(out[1], pairs)
        loss, _ = self.loss_evaluator(proposals, labels, logits, None)
        return roi, proposals, {"loss_rel": loss}

    def union_of(self, features, proposals, pairs):
        return self.union_feature_extractor(features, proposals, pairs)


class AllPairs(Head):
    """RU-Net, HL-Net: the predictor gets all pairs, the loss the sampled ones."""

    def forward(self, features, proposals, targets=None, logger=None):
        proposals, labels, pairs, _ = self.sample(proposals, targets)
        every = [torch.cartesian_prod(torch.arange(len(p)), torch.arange(len(p))) for p in proposals]
        roi, union = self.box_feature_extractor(features, proposals), self.union_of(features, proposals, every)
        logits = self.predictor(proposals, every, None, None, roi, union)[1].split([len(e) for e in every])
        mine = torch.cat([rows[pair[:, 0] * len(p) + pair[:, 1]] for rows, pair, p in zip(logits, pairs, proposals)])
        loss, _ = self.loss_evaluator(proposals, labels, mine, None)
        return roi, proposals, {"loss_rel": loss}


class OtherUnion(Head):
    """The union extractor wants more than features, proposals and pairs."""

    def union_feature_extractor(self, features, proposals, pairs, labels):
        return super().union_feature_extractor(features, proposals, pairs) * (1 + labels)

    def union_of(self, features, proposals, pairs):
        return self.union_feature_extractor(features, proposals, pairs, 2)


class ChangesLogits(Head):
    """GCM, ABP, ART-SOL: a layer after the predictor."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.refine = nn.Linear(C, C)

    def after_predictor(self, logits, pairs):
        return self.refine(logits)


class HandsOverLayers(Head):
    """DKBL: the predictor is given a layer of the head."""

    def union_of(self, features, proposals, pairs):
        return [row * self.union.weight.sum() for row in self.union_feature_extractor(features, proposals, pairs)]


class EditsFeatures(Head):
    """The extractor exchanges an item of the list of features in place."""

    def box_feature_extractor(self, features, proposals):
        features[0] = features[0] * 2
        return super().box_feature_extractor(features, proposals)


class OwnSamplerHead(Head):
    def sample(self, proposals, targets):
        return self.samp_processor.relation_gtbox_relsample(proposals, targets)


class LossModule(nn.Module):
    """A loss evaluator that is a module with a buffer, which the head's state_dict holds."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("class_weights", torch.ones(C))

    def forward(self, proposals, rel_labels, relation_logits, refine_logits):
        return (relation_logits * self.class_weights).sum(), 0


def with_loss_module(predictor: nn.Module) -> Head:
    head = Head(predictor)
    head.loss_evaluator = LossModule()
    return head


HEADS = {
    "SGB": lambda: Head(Predictor()), "GPSNet's names, five outputs": lambda: Head(Five()),
    "all pairs": lambda: AllPairs(Predictor()), "union extractor": lambda: OtherUnion(Predictor()),
    "changes logits": lambda: ChangesLogits(Predictor()), "hands over layers": lambda: HandsOverLayers(Predictor()),
    "edits features": lambda: EditsFeatures(Predictor()), "loss module": lambda: with_loss_module(Predictor()),
    "own sampler": lambda: OwnSamplerHead(Predictor(), OwnSampler()),
}  # fmt: skip


class Method:
    """What a stage's method does at the two events of a forward."""

    def __init__(self, teacher: Teacher | None = None) -> None:
        self.teacher, self.stage, self.seen = teacher, SimpleNamespace(title=lambda: "stage 2 of 2"), []

    def on_forward(self, call, logits):
        if self.teacher is not None:
            self.seen.append((logits.detach(), self.teacher.relation_logits(call, logits.device)))
        return {"loss_cr": logits.sum() * 0}

    def relation_loss(self, logits, labels):
        return logits.sum()


def forward(head: nn.Module, losses: RelationLosses, seed: int = 0) -> dict:
    torch.manual_seed(seed)
    out = head([torch.randn(3, 3)], [torch.randn(3, 3), torch.randn(3, 3)])[2]
    losses.add_to(out)
    return out


def attached(head: nn.Module, method: Method) -> RelationLosses:
    losses = RelationLosses(method, C)
    watch_samplers(head, lambda: losses.call)
    losses.attach(head)
    for part in head.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0  # equal weights then give equal logits
    return losses


@pytest.mark.parametrize("kind", HEADS)
def test_at_equal_weights_the_teacher_gives_the_students_logits(kind, caplog):
    caplog.set_level("INFO", "maskrcnn_benchmark.hml")
    head = HEADS[kind]()
    method = Method(Teacher(head, head.state_dict(), Replay))
    losses = attached(head, method)
    for seed in range(3):
        given = forward(head, losses, seed)
        assert set(given) == {"loss_rel", "loss_cr"}
    assert len(method.seen) == 3
    for student, teacher in method.seen:
        assert student.shape == teacher.shape == (12, C) and torch.equal(student, teacher)
    assert caplog.text.count("beside l_new the host's own losses are trained: none") == 1
    with torch.no_grad():  # the student's weights are its own
        head.predictor.out.weight.add_(1.0)
        head.box.weight.add_(1.0)
        head.union.weight.add_(1.0)
    forward(head, losses, seed=2)
    assert torch.equal(method.seen[3][1], method.seen[2][1]) and not torch.equal(method.seen[3][0], method.seen[2][0])


def test_a_loss_modules_buffers_stay_in_the_memory():
    head = with_loss_module(Predictor())
    attached(head, Method())
    assert "loss_evaluator.class_weights" in head.state_dict()
    fresh = with_loss_module(Predictor())
    Teacher(fresh, head.state_dict(), Replay)  # strict


class BiasInTests(Predictor):
    """RA-SGG adds its frequency bias in eval mode alone."""

    def forward(self, *args, **kwargs):
        objects, logits, added = super().forward(*args, **kwargs)
        return objects, logits if self.training else logits + torch.arange(C) * 3.0, added


class AnotherWayInTests(Predictor):
    def forward(self, *args, **kwargs):
        if not self.training:
            raise KeyError("predict_logits")
        return super().forward(*args, **kwargs)


class OtherRowsInTests(Predictor):
    def forward(self, *args, **kwargs):
        objects, logits, added = super().forward(*args, **kwargs)
        return objects, logits if self.training else logits[1:], added


class NotFiniteInTests(Predictor):
    def forward(self, *args, **kwargs):
        objects, logits, added = super().forward(*args, **kwargs)
        return objects, logits if self.training else logits / 0, added


def checked(head: nn.Module, labels_given: bool = True) -> None:
    check = SelfCheck(head, labels_given)
    losses = attached(head, Method())
    losses.on_first = check
    forward(head, losses)
    assert losses.on_first is None


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_that_can_teach_passes_and_its_generators_are_untouched(kind):
    head = HEADS[kind]()
    twin = copy_module(head)
    torch.manual_seed(3)
    checked(head)
    after = torch.get_rng_state()
    forward(twin, attached(twin, Method()))
    assert torch.equal(torch.get_rng_state(), after)


@pytest.mark.parametrize("predictor, said", [
    (BiasInTests, "in eval mode the relation logits of BiasInTests are another quantity than in training"),
    (AnotherWayInTests, "a copy of AnotherWayInTests fails in eval mode .*KeyError: 'predict_logits'"),
    (OtherRowsInTests, r"answers the student's \(12, 4\) relation logits with \(11, 4\)"),
    (NotFiniteInTests, "NaN or infinite in eval mode"),
])
def test_a_head_that_cannot_teach_is_refused_at_the_first_step(predictor, said):
    with pytest.raises(HMLError, match=f"{said}.*HML.CR.WEIGHT 0"):
        checked(Head(predictor()))


def test_decoded_labels_may_differ_and_that_is_said(caplog):
    caplog.set_level("INFO", "maskrcnn_benchmark.hml")
    checked(Head(BiasInTests()), labels_given=False)
    assert "differ from those in training mode" in caplog.text
