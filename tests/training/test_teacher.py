"""The teacher is a copy of the student's head, whatever that head keeps in its modules."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.training.teacher import Teacher, copy_module


def weight_normed() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own advice to write it otherwise
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 2)), nn.ReLU())


def test_a_head_with_weight_norm_is_copied():
    """As in GCM: the layer keeps its computed weight, a tensor with a graph, which copy.deepcopy refuses."""
    head = weight_normed()
    head(torch.randn(4, 3)).sum().backward()
    copied, x = copy_module(head), torch.randn(5, 3)
    assert torch.equal(copied(x), head(x))
    with torch.no_grad():
        copied[0].weight_v.add_(1.0)
    assert not torch.equal(copied(x), head(x)), "the copy has weights of its own"


def test_a_teacher_with_weight_norm_answers_with_the_weights_it_was_given():
    head, other = weight_normed(), weight_normed()
    teacher = Teacher(head, other.state_dict(), lambda head: head)
    x = torch.randn(5, 3)
    assert torch.equal(teacher.relation_logits(x, torch.device("cpu")), other(x))


def test_weights_of_another_model_are_refused():
    with pytest.raises(HMLError, match="does not fit this model"):
        Teacher(nn.Linear(3, 2), {"weight": torch.zeros(2, 2)}, lambda head: head)
