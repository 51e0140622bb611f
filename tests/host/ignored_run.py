"""Whether ignored pairs take places in a benchmark's pair samplers; the benchmark is whatever is on the path.

Not a test: called by tests/embedded/modeling/test_sampling.py, and a child process of tests/upstream with the checkout
as its argument.
"""

from __future__ import annotations

import sys

import torch

from maskrcnn_benchmark_hml.host.pair_sampling import leave_out_ignored

OURS, TOTAL = (3, 4), 24  # of 8 predicates; a quarter of 24 pairs may be annotated ones


def picture(seed: int):
    """12 boxes without overlap; 40 pairs with other layers' predicates, 8 with the stage's."""
    from maskrcnn_benchmark.structures.bounding_box import BoxList

    place = torch.arange(12.0)
    boxes = BoxList(torch.stack((8 * place, 8 * place, 8 * place + 6, 8 * place + 6), 1), (100, 100))
    boxes.add_field("labels", torch.arange(1, 13))
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.nonzero(~torch.eye(12, dtype=torch.bool))[torch.randperm(132, generator=generator)[:48]]
    relation = torch.zeros(12, 12, dtype=torch.int64)
    others = torch.tensor([1, 2, 5, 6, 7])[torch.randint(5, (48,), generator=generator)]
    others[:8] = torch.tensor(OURS)[torch.randint(2, (8,), generator=generator)]
    relation[pairs[:, 0], pairs[:, 1]] = others
    boxes.add_field("relation", relation, is_triplet=True)
    return boxes


def check(method: str) -> None:
    """AssertionError if a sampler returns an ignored pair, or fewer rows than without these pairs."""
    from maskrcnn_benchmark.modeling.roi_heads.relation_head.sampling import RelationSampling

    given = method == "gtbox_relsample"
    processor = RelationSampling(0.5, False, 4, TOTAL, 0.25, given, False)
    leave_out_ignored(processor, OURS)
    drawn = set()
    for seed in range(30):
        targets = [picture(0), picture(1 + seed)]
        torch.manual_seed(seed)
        _, labels, pairs, binaries = getattr(processor, method)(targets, targets)
        for target, label, pair, binary in zip(targets, labels, pairs, binaries):
            relation = target.get_field("relation")
            assert torch.equal(label, relation[pair[:, 0], pair[:, 1]])  # no ignored pair is called background
            assert int(torch.isin(label, torch.tensor(OURS)).sum()) == 6, "ignored pairs use up the quota"
            assert int((label == 0).sum()) == TOTAL - 6 and len(label) == TOTAL
            assert torch.equal(binary > 0, (relation > 0) | (relation > 0).t())  # an ignored pair is related
        drawn |= {tuple(p) for p in pairs[0][labels[0] > 0].tolist()}
        assert (processor.batch_size_per_image, processor.positive_fraction) == (TOTAL, 0.25)
    assert len(drawn) == 8  # each of the first picture's has been drawn


if __name__ == "__main__":
    from maskrcnn_benchmark_hml.host.launch import enter
    from maskrcnn_benchmark_hml.host.locate import locate

    enter(locate(sys.argv[1]))
    for sampler in ("gtbox_relsample", "detect_relsample"):
        check(sampler)
    print("ignored pairs take no place")
