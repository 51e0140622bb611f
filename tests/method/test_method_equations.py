"""Every equation against an oracle in plain Python numbers, written from the paper's formulas.

float64 must agree to a relative 1e-12, float32 to 1e-5.
"""

from __future__ import annotations

import math
from decimal import Decimal, getcontext

import numpy as np
import pytest
import torch

from maskrcnn_benchmark_hml.method.clustering import cluster_predicates
from maskrcnn_benchmark_hml.method.importance import (
    fisher_update,
    importance_raw,
    normalise_importance,
    released_importance,
    released_normalise,
    step_contribution,
)
from maskrcnn_benchmark_hml.method.losses import class_balanced_loss, class_balanced_weights, concept_reconstruction
from maskrcnn_benchmark_hml.method.reconstruction import ModelReconstruction, mr_value, mr_weights
from maskrcnn_benchmark_hml.method.tracker import ImportanceTracker
from maskrcnn_benchmark_hml.method.vectors import WordVectors, embed_phrase

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}
BOTH = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


def close(actual, expected, dtype=torch.float64):
    actual = np.asarray(torch.as_tensor(actual).detach().double())
    np.testing.assert_allclose(actual, np.asarray(expected, dtype=np.float64), rtol=TOLERANCE[dtype], atol=0)


def softmax(row, temperature=1.0):
    powers = [math.exp(x / temperature) for x in row]
    return [p / math.fsum(powers) for p in powers]


def draw(*shape, dtype=torch.float64, scale=1.0):
    return torch.randn(shape, dtype=torch.float64).mul(scale).to(dtype)


# -- eq. 1-2 ----------------------------------------------------------------------------------------------------------


def words(seed=3, dim=7):
    generator = np.random.default_rng(seed)
    names = ["on", "sit", "park", "in", "front", "of", "fly", "has", "wear", "near"]
    matrix = generator.normal(size=(len(names), dim)).astype(np.float32)
    return WordVectors("toy", "0" * 64, {name: i for i, name in enumerate(names)}, matrix)


def oracle_clusters(order, vectors, threshold):
    def mean(name):
        rows = [[float(x) for x in vectors[word]] for word in name.split()]
        return [math.fsum(column) / len(rows) for column in zip(*rows)]

    def cosine(a, b):
        dot = math.fsum(x * y for x, y in zip(a, b))
        return dot / math.sqrt(math.fsum(x * x for x in a)) / math.sqrt(math.fsum(y * y for y in b))

    groups = []
    for name in order:
        v = mean(name)
        scored = [(cosine(v, group["r"]), group) for group in groups]
        similarity, group = max(scored, key=lambda pair: pair[0], default=(-2, None))
        if similarity >= threshold:
            n = len(group["names"])
            group["r"] = [(n * r + x) / (n + 1) for r, x in zip(group["r"], v)]
            group["names"].append(name)
        else:
            groups.append({"names": [name], "r": v})
    return [group["names"] for group in groups]


def test_eq1_phrase_is_the_plain_mean_of_its_words():
    vectors = words()
    expected = [(float(a) + float(b) + float(c)) / 3 for a, b, c in zip(*(vectors[w] for w in ("in", "front", "of")))]
    close(embed_phrase(vectors, "in front of"), expected)
    close(embed_phrase(vectors, "front of", skip_words=("of",)), [float(x) for x in vectors["front"]])


@pytest.mark.parametrize("threshold", [-1.0, 0.2, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_eq2_clusters(threshold, seed):
    order = ["on", "in", "has", "sit on", "near", "park on", "in front of", "wear", "fly in", "on front of"]
    vectors = words(seed)
    assert cluster_predicates(order, vectors, threshold) == oracle_clusters(order, vectors, threshold)


def test_eq2_threshold_one_joins_equal_directions_and_nothing_else():
    """A cosine of equal directions rounds to 1 or a little below; the threshold 1 must not depend on that."""
    directions = np.random.default_rng(0).normal(size=(40, 7)).astype(np.float32)
    directions[1::2] = directions[::2] + np.float32(1e-3)
    rows = [direction * scale for direction in directions for scale in np.float32([1, 0.25, 8])]
    names = [f"w{i}" for i in range(len(rows))]
    vectors = WordVectors("toy", "0" * 64, {name: i for i, name in enumerate(names)}, np.array(rows))
    assert cluster_predicates(names, vectors, 1.0) == [names[i : i + 3] for i in range(0, len(names), 3)]


# -- eq. 3-5 ----------------------------------------------------------------------------------------------------------


def oracle_weights(counts, gamma):
    """Eq. 4 in 60 decimal digits."""
    getcontext().prec = 60
    total = Decimal(sum(counts[1:]))
    gamma = (total - 1) / total if gamma is None else Decimal(gamma)
    return [float((1 - gamma) / (1 - gamma ** int(n))) if n else 0.0 for n in counts]


@pytest.mark.parametrize("counts", [[300000, 129483, 75329, 212, 55, 7, 1, 0], [0, 5, 1], [10, 1, 0], [3, 10**9, 2]])
@pytest.mark.parametrize("gamma", [None, 0.0, 0.9, 0.999])
def test_eq4_weights(counts, gamma):
    close(class_balanced_weights(counts, gamma), oracle_weights(counts, gamma))


def test_eq4_leaves_out_rows_whose_label_is_below_0():
    """Forks mark pairs to ignore by -1; as an index it would be the last class."""
    logits, weights = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0.1, 0.5, 2.0, 0.0], dtype=torch.float64)
    labels = torch.tensor([2, -1, 1, -100, 0])
    kept = labels >= 0
    close(class_balanced_loss(logits, labels, weights), class_balanced_loss(logits[kept], labels[kept], weights))
    alone = torch.full((5,), -1)
    assert class_balanced_loss(logits.requires_grad_(), alone, weights.index_fill(0, torch.tensor(3), 1.0)) == 0


@BOTH
def test_eq4_loss(dtype):
    counts = [40, 30, 9, 2, 0]
    w = oracle_weights(counts, None)
    logits = draw(11, 5, dtype=dtype, scale=3)
    labels = torch.tensor([0, 1, 2, 3, 1, 0, 0, 2, 1, 3, 4])
    terms = [w[y] * -math.log(softmax(row)[y]) for row, y in zip(logits.double().tolist(), labels.tolist())]
    expected = math.fsum(terms) / math.fsum(w[y] for y in labels.tolist())
    loss = class_balanced_loss(logits, labels, class_balanced_weights(counts))
    assert loss.dtype == dtype
    close(loss, expected, dtype)


def test_eq4_rows_without_weight_give_zero_and_a_gradient():
    logits = torch.zeros(3, 4, requires_grad=True)
    class_balanced_loss(logits, torch.tensor([2, 2, 2]), class_balanced_weights([1, 1, 0, 1])).backward()
    assert torch.equal(logits.grad, torch.zeros(3, 4))


DISTANCE = {
    "l2": lambda p, q: (p - q) ** 2,
    "l1": lambda p, q: abs(p - q),
    "ce": lambda p, q: -q * math.log(p),
    "kl": lambda p, q: q * (math.log(q) - math.log(p)),
}


@BOTH
@pytest.mark.parametrize("metric", sorted(DISTANCE))
@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("reduction", ["mean", "released"])
def test_eq5_concept_reconstruction(dtype, metric, temperature, reduction):
    student, teacher = draw(9, 6, dtype=dtype, scale=2), draw(9, 6, dtype=dtype, scale=2)
    old = [0, 2, 5]
    total = math.fsum(
        DISTANCE[metric](softmax(s, temperature)[j], softmax(t, temperature)[j])
        for s, t in zip(student.double().tolist(), teacher.double().tolist())
        for j in old
    )
    value = concept_reconstruction(
        student, teacher, torch.tensor(old), metric=metric, temperature=temperature, reduction=reduction
    )
    # Single terms of kl cancel in the sum: its float32 error is relative to the terms.
    expected = total / (9 if reduction == "mean" else 12)
    tolerance = TOLERANCE[dtype] * (20 if metric == "kl" and dtype == torch.float32 else 1)
    assert float(value) == pytest.approx(expected, rel=tolerance, abs=0)


def test_eq5_gradient_flows_to_the_student_only():
    student = draw(4, 5).requires_grad_()
    teacher = draw(4, 5).requires_grad_()
    concept_reconstruction(student, teacher, torch.tensor([0, 1])).backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None
    assert torch.autograd.gradcheck(lambda s: concept_reconstruction(s, teacher, torch.tensor([0, 3])), (student,))


def test_eq3_total_gradient_is_the_sum_of_its_terms():
    """l_new + CR + lambda MR: autograd of the whole equals autograd of the losses plus the closed form."""
    net = torch.nn.Linear(6, 5).double()
    x, labels, teacher = draw(8, 6), torch.tensor([0, 1, 2, 3, 4, 1, 1, 0]), draw(8, 5)
    named = list(net.named_parameters())
    star = {n: p.detach() + draw(*p.shape) for n, p in named}
    fisher = {n: draw(*p.shape).square() for n, p in named}
    raw = {n: draw(*p.shape).square() for n, p in named}
    weights = class_balanced_weights([9, 8, 7, 2, 1])

    def losses():
        logits = net(x)
        return class_balanced_loss(logits, labels, weights) + concept_reconstruction(
            logits, teacher, torch.tensor([0, 1, 2])
        )

    (losses() + 0.5 * mr_value(dict(named), star, mr_weights(fisher, raw))).backward()
    expected = [p.grad.clone() for _, p in named]
    net.zero_grad()
    losses().backward()
    ModelReconstruction(named, star, fisher, raw, 0.5).add_gradient_()
    for (_, p), gradient in zip(named, expected):
        close(p.grad, gradient)


# -- eq. 6-11 ---------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("mode", ["mean", "ema"])
def test_eq8_fisher(dtype, mode):
    gradients = [draw(13, dtype=dtype, scale=1e-3) for _ in range(25)]
    fisher = torch.zeros(13, dtype=dtype)
    expected = [0.0] * 13
    for t, g in enumerate(gradients, 1):
        fisher_update(fisher, g, t, mode=mode, ema=0.3)
        for i, x in enumerate(g.double().tolist()):
            expected[i] = (x * x + (t - 1) * expected[i]) / t if mode == "mean" else 0.3 * x * x + 0.7 * expected[i]
    close(fisher, expected, dtype)


def test_eq6_and_7_the_running_mean_is_the_empirical_expectation():
    """F is E[(d log p)^2], the curvature of the KL divergence: for a softmax over logits theta, p_j (1 - p_j)."""
    p = softmax([0.3, -0.5, 1.1])
    fisher, step = torch.zeros(3, dtype=torch.float64), 0
    for _ in range(40):
        for y, share in enumerate(p):
            for _ in range(round(share * 10)):
                step += 1
                fisher_update(fisher, torch.tensor([float(j == y) - p[j] for j in range(3)], dtype=torch.float64), step)
    drawn = [round(share * 10) / sum(round(s * 10) for s in p) for share in p]
    expected = [math.fsum(w * (float(j == y) - p[j]) ** 2 for y, w in enumerate(drawn)) for j in range(3)]
    close(fisher, expected)


@BOTH
def test_eq9_and_11_contribution_and_raw_importance(dtype):
    g, before, after = draw(50, dtype=dtype), draw(50, dtype=dtype), draw(50, dtype=dtype)
    fisher, moved = draw(50, dtype=dtype).square(), draw(50, dtype=dtype, scale=1e-4)
    gain = [max(0.0, -x * (b - a)) for x, a, b in zip(*(v.double().tolist() for v in (g, before, after)))]
    misprint = [max(0.0, x * (b - a)) for x, a, b in zip(*(v.double().tolist() for v in (g, before, after)))]
    close(step_contribution(g, before, after), gain, dtype)
    close(step_contribution(g, before, after, sign="released"), misprint, dtype)
    raw = [c / (f / 2 * d * d + 1e-20) for c, f, d in zip(gain, fisher.double().tolist(), moved.double().tolist())]
    contributions = step_contribution(g, before, after)
    close(importance_raw(contributions, fisher, moved, eps=1e-20), raw, dtype)
    floors = [
        2 * max(c, 1e-15) / max(f * d * d, 1e-20)
        for c, f, d in zip(gain, fisher.double().tolist(), moved.double().tolist())
    ]
    close(released_importance(contributions, fisher, moved), floors, dtype)


def test_eq9_no_displacement_gives_zero_not_infinity():
    raw = importance_raw(torch.tensor([0.0, 1e-4]), torch.tensor([0.0, 1e-18]), torch.tensor([0.0, 0.0]))
    assert torch.equal(raw, torch.zeros(2))


@BOTH
def test_eq10_normalisation_is_global_and_leaves_out_what_never_moved(dtype):
    raw = [draw(4, 3, dtype=dtype).square() * 1e9, draw(7, dtype=dtype).square() * 1e3]
    raw[1][2] = 0
    flat = [x for tensor in raw for x in tensor.double().flatten().tolist()]
    total = math.fsum(flat)
    expected = [1 / (1 + math.exp(-math.log10(len(flat) * x / total))) if x else 0.0 for x in flat]
    close(torch.cat([t.flatten() for t in normalise_importance(raw)]), expected, dtype)
    assert all(torch.equal(t, torch.zeros(3)) for t in normalise_importance([torch.zeros(3), torch.zeros(3)]))


@BOTH
def test_released_normalisation(dtype):
    values = [draw(6, dtype=dtype).square() * 1e-7, torch.tensor([0.0, 5.0, 1e-30], dtype=dtype)]
    for ceiling in (1.0, None):
        logs = [
            math.log10(min(max(x, 1e-20), ceiling or math.inf)) for t in values for x in t.double().flatten().tolist()
        ]
        mean = math.fsum(logs) / len(logs)
        expected = [1 / (1 + math.exp(mean - x)) for x in logs]
        # A sigmoid of -13 turns the float32 rounding of its argument into 13 times that.
        actual = torch.cat([t.flatten() for t in released_normalise(values, ceiling)]).double().numpy()
        np.testing.assert_allclose(actual, expected, rtol=TOLERANCE[dtype])


def oracle_tracker(start, gradients, thetas, interval, *, eps, mode="mean", ema=0.5, misprint=False):
    """F and Omega_raw of one stage, parameter by parameter. ``thetas[t]`` are the values after step t+1."""
    fisher_all, raw_all = [], []
    for i in range(len(start)):
        fisher = raw = contribution = 0.0
        theta = anchor = start[i]

        def share(contribution, fisher, distance):
            if misprint:
                return 2 * max(contribution, 1e-15) / max(fisher * distance**2, 1e-20)
            return contribution / (fisher / 2 * distance**2 + eps) if distance else 0.0

        for t, (g, after) in enumerate(zip(gradients, thetas), 1):
            fisher = (g[i] ** 2 + (t - 1) * fisher) / t if mode == "mean" else ema * g[i] ** 2 + (1 - ema) * fisher
            contribution += max(0.0, (1 if misprint else -1) * g[i] * (after[i] - theta))
            theta = after[i]
            if interval and t % interval == 0:
                raw += share(contribution, fisher, theta - anchor)
                contribution, anchor = 0.0, theta
        if not interval or len(thetas) % interval:
            raw += share(contribution, fisher, theta - anchor)
        fisher_all.append(fisher)
        raw_all.append(raw)
    return fisher_all, raw_all


@pytest.mark.parametrize("interval", [0, 1, 3, 4])
@pytest.mark.parametrize("released", [False, True])
def test_eq8_to_11_over_a_whole_stage(interval, released):
    shapes = [(3, 4), (5,), ()]
    params = [torch.nn.Parameter(draw(*shape)) for shape in shapes]
    named = [(f"p{i}", p) for i, p in enumerate(params)]
    flat = lambda: torch.cat([p.detach().reshape(-1) for p in params]).tolist()  # noqa: E731
    settings = {"fisher_mode": "ema", "ema": 0.3, "contribution": "released"} if released else {}
    tracker = ImportanceTracker(named, interval=interval, eps=1e-22, **settings)
    optimizer = torch.optim.SGD(params, lr=0.05, momentum=0.9, weight_decay=0.01)
    start, gradients, thetas = flat(), [], []
    for _ in range(8):
        for p in params:
            p.grad = draw(*p.shape, scale=0.1)
        params[1].grad = None  # a decoder that PredCls does not use
        gradients.append([0.0 if p.grad is None else x for p in params for x in (p if p.grad is None else p.grad)
                          .detach().reshape(-1).tolist()])  # fmt: skip
        assert tracker.record_gradients()
        torch.nn.utils.clip_grad_norm_(params, 0.1)
        optimizer.step()
        tracker.record_step()
        thetas.append(flat())
    fisher, raw = tracker.finish()
    mode = {"mode": "ema", "ema": 0.3, "misprint": True} if released else {}
    expected_fisher, expected_raw = oracle_tracker(start, gradients, thetas, interval, eps=1e-22, **mode)
    close(torch.cat([fisher[n].reshape(-1) for n, _ in named]), expected_fisher)
    actual = torch.cat([raw[n].reshape(-1) for n, _ in named]).numpy()
    # theta(t+1) - theta(t) cancels: the rounding of theta itself bounds what agreement is possible.
    np.testing.assert_allclose(actual, expected_raw, rtol=1e-12)
    assert tracker.steps == 8


# -- eq. 12 -----------------------------------------------------------------------------------------------------------


def stage(dtype):
    named = [("a", torch.nn.Parameter(draw(4, 5, dtype=dtype))), ("b", torch.nn.Parameter(draw(6, dtype=dtype)))]
    star = {n: draw(*p.shape, dtype=dtype) for n, p in named}
    fisher = {n: draw(*p.shape, dtype=dtype).square() for n, p in named}
    raw = {n: draw(*p.shape, dtype=dtype).square() * 100 for n, p in named}
    raw["b"][1] = 0
    return named, star, fisher, raw


def oracle_mr(named, star, fisher, raw, mode):
    f = [x for n, _ in named for x in fisher[n].double().flatten().tolist()]
    o = [x for n, _ in named for x in raw[n].double().flatten().tolist()]
    if mode in ("paper", "mean_one"):
        omega = [1 / (1 + math.exp(-math.log10(len(o) * x / math.fsum(o)))) if x else 0.0 for x in o]
        w = [a + b if x else 0.0 for a, b, x in zip(f, omega, o)]
        w = [x / (math.fsum(w) / len(w)) for x in w] if mode == "mean_one" else w
    elif mode == "released":
        logs = [math.log10(min(max(x, 1e-20), 1)) for x in f], [math.log10(max(x, 1e-20)) for x in o]
        parts = [[1 / (1 + math.exp(math.fsum(v) / len(v) - x)) for x in v] for v in logs]
        w = [a + b for a, b in zip(*parts)]
    else:
        w = [1.0] * len(f)
    theta = [x for _, p in named for x in p.detach().double().flatten().tolist()]
    old = [x for n, _ in named for x in star[n].double().flatten().tolist()]
    value = math.fsum(a * (b - c) ** 2 for a, b, c in zip(w, theta, old)) / len(w)
    gradient = [2 * 0.7 * a * (b - c) / len(w) for a, b, c in zip(w, theta, old)]
    return w, value, gradient


@BOTH
@pytest.mark.parametrize("mode", ["paper", "released", "mean_one", "l2"])
def test_eq12_weights_value_gradient(dtype, mode):
    named, star, fisher, raw = stage(dtype)
    w, value, gradient = oracle_mr(named, star, fisher, raw, mode)
    weights = mr_weights(fisher, raw, mode)
    close(torch.cat([weights[n].flatten() for n, _ in named]), w, dtype)
    close(mr_value(dict(named), star, weights), value, dtype)
    mr = ModelReconstruction(named, star, fisher, raw, 0.7, mode)
    assert mr.value() == pytest.approx(value, rel=TOLERANCE[dtype])
    assert mr.pull == pytest.approx(2 * 0.7 * math.fsum(w) / len(w) / len(w), rel=TOLERANCE[dtype])
    for _, p in named:
        p.grad = torch.zeros_like(p)
    mr.add_gradient_()
    close(torch.cat([p.grad.flatten() for _, p in named]), gradient, dtype)


def test_eq12_drops_f_where_omega_raw_is_zero_though_f_is_not():
    fisher, raw = {"a": torch.tensor([3.0, 3.0])}, {"a": torch.tensor([0.0, 5.0])}
    assert mr_weights(fisher, raw)["a"].tolist() == [0.0, pytest.approx(3 + 1 / (1 + math.exp(-math.log10(2))))]


@pytest.mark.parametrize("mode", ["paper", "released", "mean_one", "l2"])
def test_eq12_gradient_is_autograds(mode):
    named, star, fisher, raw = stage(torch.float64)
    loss = 3.0 * mr_value(dict(named), star, mr_weights(fisher, raw, mode))
    expected = torch.autograd.grad(loss, [p for _, p in named])
    for _, p in named:
        p.grad = torch.zeros_like(p)
    ModelReconstruction(named, star, fisher, raw, 3.0, mode).add_gradient_()
    for (_, p), gradient in zip(named, expected):
        close(p.grad, gradient)
