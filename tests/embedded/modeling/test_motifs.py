"""MOTIFS' parts: geometry, order, embeddings, decoder, prior, running means."""

from __future__ import annotations

import logging

import pytest
import torch
from maskrcnn_benchmark.modeling.roi_heads.relation_head.decoder import DecoderRNN
from maskrcnn_benchmark.modeling.roi_heads.relation_head.freq_bias import FrequencyBias
from maskrcnn_benchmark.modeling.roi_heads.relation_head.model_motifs import LSTMContext
from maskrcnn_benchmark.modeling.roi_heads.relation_head.utils_motifs import (
    encode_box_info,
    given_label_logits,
    sequence_order,
)
from maskrcnn_benchmark.modeling.roi_heads.relation_head.word_vectors import obj_edge_vectors
from maskrcnn_benchmark.structures.bounding_box import BoxList
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from maskrcnn_benchmark_hml.errors import HMLError

pytestmark = pytest.mark.isa


def test_geometry_of_a_box():
    info = encode_box_info([BoxList([[10, 20, 29, 59]], (100, 200)), BoxList([[0, 0, 9, 9]], (10, 10))])
    torch.testing.assert_close(info[0], torch.tensor([0.2, 0.2, 0.2, 0.2, 0.1, 0.1, 0.29, 0.295, 0.04]))
    torch.testing.assert_close(info[1], torch.tensor([1.0, 1.0, 0.5, 0.5, 0.0, 0.0, 0.9, 0.9, 1.0]))


def test_order_is_that_of_packed_sequences_from_right_to_left(make_targets):
    for counts in ([4, 7, 1, 7], [3], [1, 1], [2, 5, 9]):
        proposals = make_targets(counts)
        order, inverse, sizes = sequence_order(proposals)
        rows, start = [], 0
        for index, boxes in enumerate(proposals):
            centre = boxes.bbox[:, 0] + boxes.bbox[:, 2]
            rows.append((len(boxes), index, start + centre.argsort(descending=True)))
            start += len(boxes)
        packed = pack_sequence([r[2] for r in sorted(rows, key=lambda r: r[:2], reverse=True)])
        assert torch.equal(order, packed.data) and torch.equal(sizes, packed.batch_sizes)
        assert torch.equal(order[inverse], torch.arange(sum(counts)))


def test_a_given_label_is_certain():
    labels = torch.tensor([3, 0])
    assert torch.equal(given_label_logits(labels, 5).softmax(1), torch.nn.functional.one_hot(labels, 5).float())


def test_random_embeddings_depend_on_the_name_alone(caplog):
    with caplog.at_level(logging.INFO):
        one = obj_edge_vectors(["cat", "dog"], "", wv_dim=300)
    assert len(caplog.records) == 1 and "N(0, 1)" in caplog.text
    torch.rand(3)
    assert torch.equal(one.flip(0), obj_edge_vectors(["dog", "cat"], "", wv_dim=300))
    assert abs(float(one.std()) - 1) < 0.1 and not torch.equal(one[0], one[1])


def test_embeddings_from_a_file(tmp_path, caplog):
    words = {"dog": 0, "light": 1, "__background__": 2}
    torch.save((words, torch.arange(9.0).view(3, 3), 3), tmp_path / "glove.6B.3d.pt")
    names = ["__background__", "dog", "tall light", "zyx"]
    with caplog.at_level(logging.INFO):
        rows = obj_edge_vectors(names, str(tmp_path), wv_dim=3)
    assert rows[:3].tolist() == [[6, 7, 8], [0, 1, 2], [3, 4, 5]] and "zyx" in caplog.text
    assert torch.equal(rows[3], obj_edge_vectors(["zyx"], "", wv_dim=3)[0])
    (tmp_path / "mine.txt").write_text("dog 1 2 3\n")
    assert obj_edge_vectors(["dog"], str(tmp_path / "mine.txt"), wv_dim=3).tolist() == [[1, 2, 3]]
    with pytest.raises(HMLError, match="no word vectors of length 50 .*glove.6B.50d.pt"):
        obj_edge_vectors(["dog"], str(tmp_path), wv_dim=50)
    with pytest.raises(HMLError, match="length 3, not 50"):
        obj_edge_vectors(["dog"], str(tmp_path / "mine.txt"), wv_dim=50)


def test_prior_by_class_and_by_probability(make_cfg, statistics):
    prior = FrequencyBias(make_cfg(), statistics)
    pairs = torch.tensor([[3, 7], [0, 20]])
    assert torch.equal(prior(pairs), statistics["pred_dist"][pairs[:, 0], pairs[:, 1]])
    certain = torch.nn.functional.one_hot(pairs, 21).float().transpose(1, 2)
    torch.testing.assert_close(prior.index_with_probability(certain), prior(pairs))
    even = torch.full((1, 21, 2), 1 / 21)
    torch.testing.assert_close(prior.index_with_probability(even)[0], statistics["pred_dist"].mean((0, 1)))


def decode_by_hand(decoder: DecoderRNN, sequence: torch.Tensor, labels: torch.Tensor) -> tuple[list, list]:
    """The decoder's equations for one sequence, one gate at a time."""
    size = decoder.hidden_size
    hidden = cell = torch.zeros(size)
    previous, logits, named = decoder.obj_embed.weight[0], [], []
    for x, label in zip(sequence, labels.tolist()):
        projected, state = decoder.input_linearity(torch.cat((x, previous))), decoder.state_linearity(hidden)
        i, f, m, o, r, p = projected.split(size)
        hi, hf, hm, ho, hr = state.split(size)
        cell = torch.sigmoid(i + hi) * torch.tanh(m + hm) + torch.sigmoid(f + hf) * cell
        gate = torch.sigmoid(r + hr)
        hidden = gate * torch.sigmoid(o + ho) * torch.tanh(cell) + (1 - gate) * p
        logits.append(decoder.out_obj(hidden))
        named.append(label or int(logits[-1][1:].argmax()) + 1)
        previous = decoder.obj_embed.weight[named[-1] + 1]
    return logits, named


@pytest.mark.parametrize("training", [True, False])
def test_decoder_equations(training):
    decoder = DecoderRNN(torch.randn(8, 5), inputs_dim=6, hidden_dim=4, rnn_drop=0.0).train(training)
    sequences = [torch.randn(n, 6) for n in (5, 3, 1)]
    labels = [torch.randint(0, 7, (n,)) for n in (5, 3, 1)]
    packed, order = pack_sequence(sequences), pack_sequence(labels).data
    logits, named = decoder(packed, order)
    for i, (sequence, label) in enumerate(zip(sequences, labels)):
        expected, choice = decode_by_hand(decoder, sequence, label if training else torch.zeros_like(label))
        rows = [step for step in range(len(sequence))]
        where = [int(packed.batch_sizes[:step].sum()) + i for step in rows]
        torch.testing.assert_close(logits[where], torch.stack(expected))
        assert named[where].tolist() == choice


def test_decoder_dropout_is_one_mask_per_sequence_in_training_only():
    decoder = DecoderRNN(torch.randn(8, 5), inputs_dim=6, hidden_dim=64, rnn_drop=0.5)
    torch.nn.init.eye_(decoder.out_obj.weight)  # the first logits are the hidden state itself
    torch.nn.init.zeros_(decoder.out_obj.bias)
    packed = PackedSequence(torch.randn(3, 6), torch.tensor([1, 1, 1]))
    dropped = decoder(packed, torch.ones(3, dtype=torch.int64))[0] == 0
    assert dropped.any() and torch.equal(dropped[0], dropped[1]) and torch.equal(dropped[1], dropped[2])
    assert not (decoder.eval()(packed)[0] == 0).any()


def test_running_means_move_in_training_only(make_cfg, make_targets, statistics):
    context = LSTMContext(make_cfg(), statistics["obj_classes"], in_channels=32)
    boxes, features = make_targets([4, 3]), torch.randn(7, 32)
    context(features, boxes)
    labels = torch.cat([b.get_field("labels") for b in boxes])
    expected = 0.0005 * torch.cat((context.obj_embed2(labels), features), 1).mean(0)
    torch.testing.assert_close(context.untreated_edg_feat, expected)
    assert float(context.untreated_dcd_feat.abs().sum()) > 0 and float(context.untreated_obj_feat.abs().sum()) > 0
    before = context.untreated_dcd_feat.clone()
    context.eval()(features, boxes)
    assert torch.equal(before, context.untreated_dcd_feat)
