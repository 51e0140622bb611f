"""The hook points of a host's model, checked by syntax: relation head, samplers, predictors, loss."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from .. import hook_points
from ..settings import BY_DATASET
from .finding import BREAKS, FINE, HANDLED, PARTLY, Result, further, some
from .source import PACKAGE, Source, arguments, assigned, attributes, called_on_self, returns

_FOLDER = f"{PACKAGE}/modeling/roi_heads/relation_head"
RELATION_HEAD = f"{_FOLDER}/relation_head.py"
SAMPLING = f"{_FOLDER}/sampling.py"
PREDICTORS = f"{_FOLDER}/roi_relation_predictors.py"
_REGISTRY = "ROI_RELATION_PREDICTOR"
_CHOICE = "cfg.MODEL.ROI_RELATION_HEAD.PREDICTOR"
_OTHER_CHOICE = f"cfg.{BY_DATASET}.RELATION_PREDICTOR"
#: What SGB's predictors are given beside the proposals, which come first.
PREDICTOR_ARGUMENTS = ("rel_pair_idxs", "roi_features", "union_features")


def _forward(source: Source) -> ast.FunctionDef:
    return source.method(RELATION_HEAD, "ROIRelationHead", "forward")


def relation_head(source: Source) -> Result:
    """The relation head is found in the model, with predictor and samplers."""
    present = attributes(source.method(RELATION_HEAD, "ROIRelationHead", "__init__"))
    missing = [name for name in hook_points.HEAD_NAMES if name not in present]
    if missing:
        return BREAKS, f"ROIRelationHead sets no self.{missing[0]}; keep SGB's attribute names"
    if not called_on_self(_forward(source), "predictor"):
        return BREAKS, "ROIRelationHead.forward never calls self.predictor, where HML reads the logits"
    needed, optional = arguments(_forward(source))
    usual = ("features", "proposals", "targets", "logger")
    return further("forward", [*needed, *optional], usual, "passed through")


def samplers(source: Source) -> Result:
    """The pair sampler returns what HML reads, and its sizes can be set."""
    sizes = {}
    for name in hook_points.SAMPLERS:
        for value in returns(source.method(SAMPLING, "RelationSampling", name)):
            sizes[name] = len(value.elts) if isinstance(value, ast.Tuple) else 1
    small = [name for name, size in sizes.items() if size < 3]
    if small:
        return BREAKS, f"{small[0]} does not return (proposals, labels, pairs, ...); keep SGB's order"
    called = {ast.unparse(n.func) for n in ast.walk(_forward(source)) if isinstance(n, ast.Call)}
    expected = {f"self.samp_processor.{name}" for name in hook_points.SAMPLERS}
    other = sorted(name for name in called - expected if "samp_processor." in name and ".prepare_" not in name)
    if other:
        return PARTLY, (
            f"the head may also sample with {some(other)}, where HML does not take out other stages' pairs; leave the "
            "setting that asks for it off, or set HML.STAGES.LABELS containing"
        )
    more = max(sizes.values(), default=4)
    return (HANDLED, f"returns {more} items; replayed as they come") if more != 4 else FINE


def union_features(source: Source) -> Result:
    """How the union feature extractor is called; the teacher's head calls its own in the same way."""
    odd = []
    for node in ast.walk(_forward(source)):
        if isinstance(node, ast.Assign) and called_on_self(node.value, "union_feature_extractor"):
            call = called_on_self(node.value, "union_feature_extractor")[0]
            if len(call.args) > 3 or call.keywords or isinstance(node.targets[0], ast.Tuple):
                odd.append(str(node.lineno))
    if not odd:
        return FINE
    always = len(odd) == len(called_on_self(_forward(source), "union_feature_extractor"))
    return HANDLED, (
        f"self.union_feature_extractor is {'' if always else 'also '}called with further arguments (line "
        f"{', '.join(sorted(odd, key=int))}); the teacher's head makes the same call"
    )


def predictor_arguments(source: Source) -> Result:
    """What the predictors are given; the teacher's is given the same by its head."""
    other, moved, renamed = [], [], []
    for name, forward in predictors(source):
        needed, optional = arguments(forward)
        if not set(PREDICTOR_ARGUMENTS) <= {*needed, *optional}:
            other.append(name)
        elif needed[0] != "proposals":
            renamed.append(name)
        elif "rel_binarys" in optional:
            moved.append(name)
    if other:
        return HANDLED, f"{some(other)}: other arguments than SGB's; the teacher's head gives them to its predictor"
    if renamed:
        return HANDLED, f"the proposals have another name in {some(renamed)}"
    return (HANDLED, "in another order") if moved else FINE


def predictor_output(source: Source) -> Result:
    """The relation logits have the place in the predictors' output that HML reads."""
    bad, sizes, total = [], set(), 0
    for name, forward in predictors(source):
        total += 1
        for value in returns(forward):
            items = value.elts if isinstance(value, ast.Tuple) else []
            if not items or any(isinstance(item, ast.Starred) for item in items):
                continue  # not to be counted by syntax
            sizes.add(len(items))
            silent = isinstance(items[min(1, len(items) - 1)], ast.Constant) and not _own_relation_loss(forward)
            if silent and name not in bad:
                bad.append(name)
    if not total:
        return BREAKS, f"{PREDICTORS} registers no predictor with registry.{_REGISTRY}"
    if bad:
        every = len(bad) == total
        return BREAKS if every else PARTLY, (
            f"no relation logits in training from {some(bad)}, so CR and l_new have nothing to act on"
            f"{'' if every else '; use another predictor'}"
        )
    if min(sizes, default=3) < 3:
        return BREAKS, "a predictor returns less than object logits, relation logits, losses; keep SGB's three"
    more = sorted(sizes - {3})
    return (HANDLED, f"some return {' or '.join(map(str, more))} items; 0 and 1 are taken") if more else FINE


def predictor_choice(source: Source) -> Result:
    """The predictor is chosen by SGB's setting."""
    keys = {
        ast.unparse(node.slice) for node in ast.walk(source.tree(PREDICTORS))
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith(_REGISTRY)
    }
    if not keys:
        return BREAKS, f"{PREDICTORS} looks nothing up in registry.{_REGISTRY}"
    other = sorted(keys - {_CHOICE})
    if other == [_OTHER_CHOICE]:
        return HANDLED, f"chosen by {_OTHER_CHOICE}"
    if other:
        return PARTLY, f"chosen by {other[0]}; set MODEL.ROI_RELATION_HEAD.PREDICTOR to the same name"
    return FINE


def loss_evaluator(source: Source) -> Result:
    """The relation loss can be replaced by l_new."""
    forward = _forward(source)
    if not called_on_self(forward, "loss_evaluator"):
        own = [name for name, forward in predictors(source) if _own_relation_loss(forward)]
        if own:
            return HANDLED, f"{some(own)}: self.{hook_points.CRITERION} in the predictor, where l_new takes its place"
        return BREAKS, (
            "ROIRelationHead.forward never calls self.loss_evaluator (its predictors compute the relation loss "
            "themselves), so l_new has no place"
        )
    called = {n.func.attr for n in ast.walk(forward) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)}
    others = sorted(name for name in called - {"loss_evaluator"} if "loss" in name and "evaluator" in name)
    if others:
        return PARTLY, f"the head may also call self.{some(others)}, where l_new does not act; leave that setting off"
    targets = [t for t in assigned(forward, "self.loss_evaluator") if isinstance(t, ast.Tuple)]
    items = max((len(t.elts) for t in targets), default=2)
    return (HANDLED, f"returns {items} items; the first is replaced") if items != 2 else FINE


def _own_relation_loss(forward: ast.FunctionDef) -> bool:
    """Whether a predictor stores ``self.criterion_loss(...)`` as its relation loss (SHA-GCL; DRM's is another)."""
    stored = assigned(forward, f"self.{hook_points.CRITERION}")
    return any(isinstance(target, ast.Subscript) and "rel" in ast.unparse(target.slice) for target in stored)


def predictors(source: Source) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Registered predictors and their ``forward``."""
    for node in ast.walk(source.tree(PREDICTORS)):
        if isinstance(node, ast.ClassDef) and any(_REGISTRY in ast.unparse(d) for d in node.decorator_list):
            yield node.name, source.method(PREDICTORS, node.name, "forward")
