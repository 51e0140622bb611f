"""Jobs on whole models: training steps, test forwards, validation. See ``turns.Turns`` for how a job runs."""

from __future__ import annotations

import logging
import os
import time
import zlib
from functools import partial
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from maskrcnn_benchmark_hml.host import launch
from maskrcnn_benchmark_hml.host.locate import locate
from sgb_pair.turns import Finished, Turns

ONEDNN = "mkldnn::_linear_pointwise"
SCRIPT = "tools/relation_train_net.py"
CLASS_SCORES = "roi_heads.box.predictor.cls_score.weight"
CONFIDENCE = 60.0  # the untrained detector's class scores, times this, look like those of a trained one


def _sgb(root: str) -> str | None:
    return None if root == "embedded" else root


def train_step(root: str, options: dict[str, Any], turns: Turns) -> None:
    """A step of the benchmark's own training script, data loading included: from one optimizer step to the next.

    Options: ``data`` folder, ``config`` file, ``words`` (KEY VALUE ...), ``detector``: equal detector weights.
    """
    started = 0.0

    def after_step(*_: Any) -> None:
        nonlocal started
        if started:
            turns.done(time.perf_counter() - started)
        if not turns.next():
            raise Finished
        started = time.perf_counter()

    register_optimizer_step_post_hook(after_step)
    if options.get("detector"):
        os.environ["HML_DATA"] = options["data"]  # read when the benchmark is entered
        launch.enter(locate(_sgb(root)))
        _equal_detectors()
    words = ["--skip-test", "--config-file", options["config"], *options["words"]]
    launch.run_script(SCRIPT, words, sgb=_sgb(root), data=options["data"])


def _equal_detectors() -> None:
    """Makes the benchmark build its detector from weights that depend on their names only, sure of its classes."""
    from maskrcnn_benchmark.modeling import detector

    build = detector.build_detection_model

    @torch.no_grad()
    def built(cfg: Any) -> torch.nn.Module:
        model = build(cfg)
        for name, value in model.named_parameters():
            if value.dim() > 1 and name.startswith(("backbone", "rpn", "roi_heads.box")):
                generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
                value.normal_(0.0, (1.0 / value[0].numel()) ** 0.5, generator=generator)
                if name == CLASS_SCORES:
                    value.mul_(CONFIDENCE)
        return model

    detector.build_detection_model = built


def _model(root: str, options: dict[str, Any]) -> tuple[dict[str, Any], Any, torch.nn.Module]:
    """The training script's names, the config and the model."""
    os.environ["HML_DATA"] = options["data"]
    benchmark = locate(_sgb(root))
    launch.enter(benchmark)
    os.chdir(benchmark.root)  # Scene-Graph-Benchmark's evaluator opens a file by a relative path
    if options.get("detector"):
        _equal_detectors()
    script = vars(launch.load_script(benchmark.script(SCRIPT)))
    cfg = script["cfg"]
    cfg.merge_from_file(options["config"])
    cfg.merge_from_list(options["words"])
    return script, cfg, script["build_detection_model"](cfg).eval()


def forward(root: str, options: dict[str, Any], turns: Turns) -> None:
    """The test forward of one image, loading excluded. With ``profile``: where the time of one pass goes."""
    script, cfg, model = _model(root, options)
    (loader,) = script["make_data_loader"](cfg, mode="test", is_distributed=False)
    batches = [(images, targets) for images, targets, _ in loader]

    @torch.no_grad()
    def work() -> None:
        for images, targets in batches:
            model(images, targets)

    turns.each(work, share=len(batches))
    if options.get("profile"):
        turns.facts.update(_matrix_products(work))


def _matrix_products(work: Any) -> dict[str, float]:
    """Shares of the time in dense layers and in convolutions, their rates, and the rate of a large product."""
    from torch.profiler import ProfilerActivity, profile

    # The machine's rate: the faster of torch's two libraries.
    a, b = torch.randn(1024, 4096), torch.randn(1024, 4096)
    seconds = []
    onednn = partial(torch.ops.mkldnn._linear_pointwise, B=None, attr="none", scalars=[], algorithm="")
    for product in (torch.nn.functional.linear, onednn):
        for _ in range(5):
            start = time.perf_counter()
            product(a, b)
            seconds.append(time.perf_counter() - start)
    with profile(activities=[ProfilerActivity.CPU], with_flops=True, record_shapes=True) as profiled:
        work()
    events = profiled.key_averages(group_by_input_shape=True)
    total = sum(event.self_cpu_time_total for event in events)
    facts = {"machine_gflops": 2 * 1024 * 4096 * 1024 / min(seconds) / 1e9}
    dense = ("aten::mm", "aten::addmm", "aten::bmm", ONEDNN)
    for kind, names in (("dense", dense), ("convolution", ("aten::conv2d",))):
        chosen = [event for event in events if event.key in names]
        spent = sum(event.cpu_time_total for event in chosen)
        facts[f"{kind}_share"] = spent / total
        facts[f"{kind}_gflops"] = sum(_flops(event) for event in chosen) / spent / 1e3
    return facts


def _flops(event: Any) -> float:
    """The profiler's count, and our own for the operation that it does not know."""
    if event.key != ONEDNN:
        return event.flops
    (rows, inputs), (outputs, _) = event.input_shapes[:2]
    return 2.0 * rows * inputs * outputs * event.count


def validation(root: str, options: dict[str, Any], turns: Turns) -> None:
    """The script's ``run_val`` per image: loading, forward and every metric."""
    script, cfg, model = _model(root, options)
    loaders = script["make_data_loader"](cfg, mode="val", is_distributed=False)
    logger = logging.getLogger("vs_sgb")
    turns.each(lambda: script["run_val"](cfg, model, loaders, False, logger), share=len(loaders[0].dataset))
