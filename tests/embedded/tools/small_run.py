"""A training script on a model of a few numbers: everything is the script's own but model, data and evaluation."""

from __future__ import annotations

import importlib.util
import logging
import sys
from pathlib import Path

import numpy as np
import torch

TOOLS = Path(__file__).resolve().parents[3] / "maskrcnn_benchmark_hml" / "embedded" / "tools"


def script(name: str = "relation_train_net"):
    """The script as a fresh module, as ``hml run`` loads it."""
    spec = importlib.util.spec_from_file_location(f"tested_{name}", TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Images:
    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor

    def to(self, device: torch.device) -> Images:
        return self


class Model(torch.nn.Module):
    """Frozen detector parts and a relation head with dropout, so that the random state matters."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = torch.nn.Linear(4, 4)
        self.rpn = torch.nn.Identity()
        self.roi_heads = torch.nn.Module()
        self.roi_heads.box = torch.nn.Linear(1, 1)
        layers = torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 3)
        self.roi_heads.relation = torch.nn.Sequential(*layers)
        self.poison: dict[int, str] = {}
        self.calls = 0

    def forward(self, images: Images, targets: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        self.calls += 1
        # numpy's state matters as well.
        noise = torch.tensor(np.random.normal(size=images.tensor.shape), dtype=torch.float32)
        out = self.roi_heads.relation(self.backbone(images.tensor + 0.1 * noise))
        loss = torch.nn.functional.cross_entropy(out, torch.stack(targets))
        what = self.poison.get(self.calls)
        if what == "loss":
            loss = loss * float("nan")
        elif what == "gradient":
            out.register_hook(lambda gradient: gradient * float("inf"))
        return {"loss_rel": loss, "loss_refine_obj": out.pow(2).mean()}


class Loader:
    """Batches of iteration start .. end - 1, each a function of its number."""

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end

    def __len__(self) -> int:
        return self.end

    def __iter__(self):
        for iteration in range(self.start, self.end):
            generator = torch.Generator().manual_seed(iteration)
            yield (
                Images(torch.randn(5, 4, generator=generator)),
                list(torch.randint(0, 3, (5,), generator=generator)),
                tuple(range(5)),
            )


class Run:
    """``go(folder, ...)`` trains in ``folder`` with everything fake but the loop."""

    def __init__(self, **solver) -> None:
        self.module = script()
        self.solver = {
            "MAX_ITER": 20, "IMS_PER_BATCH": 5, "BASE_LR": 0.02, "CHECKPOINT_PERIOD": 4, "VAL_PERIOD": 4,
            "PRE_VAL": False, "WARMUP_ITERS": 6, **solver,
        }
        self.schedule = {"TYPE": "WarmupReduceLROnPlateau", "PATIENCE": 1, "COOLDOWN": 0, "FACTOR": 0.5}
        self.poison: dict[int, str] = {}
        self.stop_at: tuple[str, int] | None = None
        self.stop_by: type[BaseException] = KeyboardInterrupt
        self.lrs: list[float] = []
        self.results = iter(())
        self.saved: list[str] = []

    def config(self, folder: Path):
        cfg = self.module.cfg.clone()
        cfg.defrost()
        cfg.OUTPUT_DIR = str(folder)
        cfg.MODEL.DEVICE = "cpu"
        cfg.DATASETS.VAL = ("val",)
        for key, value in self.solver.items():
            cfg.SOLVER[key] = value
        for key, value in self.schedule.items():
            cfg.SOLVER.SCHEDULE[key] = value
        cfg.freeze()
        return cfg

    def go(self, folder: Path, val=lambda iteration: 0.3) -> Model:
        folder.mkdir(exist_ok=True)
        module, run = self.module, self
        cfg = self.config(folder)
        model = None

        def build_detection_model(cfg):
            nonlocal model
            model = Model()
            model.poison = run.poison
            return model

        original_optimizer = type(self).make_optimizer

        def make_optimizer(*args, **kwargs):
            optimizer = original_optimizer(*args, **kwargs)
            optimizer.register_step_pre_hook(lambda o, *_: run.before_step(o))
            optimizer.register_step_post_hook(lambda *_: run.stop("after"))
            return optimizer

        def make_data_loader(cfg, mode, is_distributed, start_iter=0):
            if mode != "train":
                return ["loader"]
            run.start_iter = start_iter
            return Loader(start_iter, cfg.SOLVER.MAX_ITER)

        def inference(cfg, model, loader, **kwargs):
            assert loader == "loader" and kwargs["output_folder"] is None
            torch.rand(3)  # a validation draws random numbers
            model.eval()
            run.stop("validation")
            return val(run.iteration())

        self.lrs, self.saved, self.start_iter = [], [], 0
        Checkpointer = type(self).Checkpointer

        class Recording(Checkpointer):
            def save(self, name, **kwargs):
                super().save(name, **kwargs)
                run.saved.append(name)

        for name, value in {
            "build_detection_model": build_detection_model, "make_optimizer": make_optimizer,
            "make_data_loader": make_data_loader, "inference": inference, "DetectronCheckpointer": Recording,
        }.items():
            setattr(module, name, value)
        return module.train(cfg, 0, False, logging.getLogger("small_run"))

    def iteration(self) -> int:
        return self.start_iter + len(self.lrs)

    def stop(self, where: str) -> None:
        if self.stop_at == (where, self.iteration()):
            raise self.stop_by

    def before_step(self, optimizer) -> None:
        if self.stop_at == ("step", self.iteration() + 1):
            raise KeyboardInterrupt
        self.lrs.append(optimizer.param_groups[-1]["lr"])


_module = script()
Run.make_optimizer = staticmethod(_module.make_optimizer)
Run.Checkpointer = _module.DetectronCheckpointer
