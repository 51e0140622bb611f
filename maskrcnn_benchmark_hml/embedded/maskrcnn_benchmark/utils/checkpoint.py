"""Checkpoints of a training run, and the gradient clipping that the training scripts import from here."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.compat.checkpoint_file import RELATION_HEAD, read_checkpoint, weight_not_used
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.files import damaged_entry, remove_left_over, save_torch, write_text
from maskrcnn_benchmark_hml.run_folder import LAST_CHECKPOINT, newest_checkpoint

from .imports import import_file
from .model_serialization import brief, load_state_dict, unwrapped
from .pretrained import NOT_IN_IMAGENET, from_imagenet, translated
from .resume import changed_settings, load_optimizer


class Checkpointer:
    """Saves and restores model, optimiser and schedule in ``save_dir``.

    A checkpoint is a dict with ``model`` (names without a wrapper's ``module.``), ``optimizer``, ``scheduler`` and
    whatever else the caller hands to :meth:`save`. The file ``last_checkpoint`` holds the path of the newest one.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer | None = None,
        scheduler: Any = None,
        save_dir: str = "",
        save_to_disk: bool | None = None,
        logger: logging.Logger | None = None,
        custom_scheduler: bool = False,
    ) -> None:
        self.model, self.optimizer, self.scheduler = model, optimizer, scheduler
        self.save_dir, self.save_to_disk = save_dir, save_to_disk
        self.logger = logger or logging.getLogger(__name__)
        # Part of the interface; the schedule is saved either way, or a resumed run would start it anew.
        self.custom_scheduler = custom_scheduler
        self.partial = False
        self.may_be_new: str | None = None

    def save(self, name: str, **kwargs: Any) -> None:
        """Write ``save_dir/name.pth`` and make it the last checkpoint; ``kwargs`` come back from :meth:`load`."""
        if not self.save_dir or not self.save_to_disk:
            return
        data = {"model": unwrapped(self.model).state_dict()}
        if self.optimizer is not None:
            data["optimizer"] = self.optimizer.state_dict()
        if self.scheduler is not None:
            data["scheduler"] = self.scheduler.state_dict()
        data.update(kwargs)
        path = Path(self.save_dir) / f"{name}.pth"
        self.logger.info("Saving checkpoint to %s", path)
        save_torch(data, path, "checkpoint")
        self.tag_last_checkpoint(str(path))

    def load(
        self,
        f: str | None = None,
        with_optim: bool = True,
        update_schedule: bool = False,
        load_mapping: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Load the last checkpoint of ``save_dir`` if there is one, else the file ``f``, else nothing.

        Args:
            with_optim: also restore optimiser and schedule.
            update_schedule: take only the iteration from the checkpoint and the rest of the schedule from the
                configuration.
            load_mapping: see :func:`.model_serialization.load_state_dict`. With a mapping the model starts from another
                model, so the head that the mapping fills (``roi_heads.relation``) may be new.

        Returns:
            What else the checkpoint holds, ``iteration`` for one.

        Raises:
            HMLError: the file is missing or unreadable, holds NaN, or belongs to another model; see
                ``MODEL.PARTIAL_LOAD``.
        """
        if self.save_dir and self.save_to_disk:
            remove_left_over(Path(self.save_dir) / "*")  # of killed runs
        mapping = load_mapping or {}
        partial = self.partial and not self.has_checkpoint()  # a run's own checkpoint is whole
        if self.has_checkpoint():
            f = self.get_checkpoint_file()
        if not f:
            self.logger.info("No checkpoint found: the model starts from its initialisation")
            return {}
        self.logger.info("Loading checkpoint from %s", f)
        checkpoint = self._load_file(f)
        new_parts = sorted({".".join(ours.split(".")[:2]) for ours in mapping})
        weights = checkpoint.pop("model")
        if from_imagenet(weights):
            new_parts += NOT_IN_IMAGENET
        anchors = getattr(getattr(unwrapped(self.model), "rpn", None), "anchor_generator", None)
        weights = translated(weights, anchors.cell_anchors if anchors is not None else ())
        report = load_state_dict(self.model, weights, mapping, new_parts, source=str(f), partial=partial,
                                 may_be_new=None if self.has_checkpoint() else self.may_be_new)
        for what, names in (("left at its initialisation", report.missing), ("not in this model", report.unexpected)):
            if names:
                self.logger.info("%d tensors %s: %s", len(names), what, brief(names))
        optimizer, scheduler = checkpoint.pop("optimizer", None), checkpoint.pop("scheduler", None)
        if with_optim:
            self._load_training_state(f, optimizer, scheduler, update_schedule, checkpoint.get("iteration", 0))
        return checkpoint

    def _load_training_state(
        self, f: str, optimizer: Any, scheduler: Any, update_schedule: bool, iteration: int
    ) -> None:
        changed = {}, {}
        if optimizer is not None and self.optimizer is not None:
            changed[0].update(load_optimizer(self.optimizer, optimizer, f))
        if self.scheduler is not None:
            if update_schedule or scheduler is None:
                self.scheduler.jump(iteration)
            else:
                changed[1].update(self.scheduler.load_progress(scheduler))
        if text := changed_settings(*changed):
            self.logger.info(
                "Some settings differ from the checkpoint's and apply from iteration %d on: %s. The iteration count, "
                "the decays of the schedule and the momentum of each weight continue from the checkpoint",
                iteration + 1, text,
            )

    def has_checkpoint(self) -> bool:
        """Whether ``save_dir`` holds a run to continue."""
        return bool(self.save_dir) and newest_checkpoint(self.save_dir) is not None

    def get_checkpoint_file(self) -> str:
        """Path of the last checkpoint, "" if there is none; see :func:`newest_checkpoint`."""
        return str(newest_checkpoint(self.save_dir)) if self.has_checkpoint() else ""

    def _others(self, bad: str) -> str:
        """The newest checkpoint other than ``bad``, for messages."""
        files = [p for p in Path(self.save_dir or ".").glob("model_*.pth") if p.name != Path(bad).name]
        return max(files, key=lambda p: p.stat().st_mtime).name if files else "an intact checkpoint"

    def tag_last_checkpoint(self, last_filename: str) -> None:
        """Make ``last_filename`` the checkpoint that the next run continues from."""
        write_text(Path(self.save_dir) / LAST_CHECKPOINT, last_filename)

    def _load_file(self, f: str) -> dict[str, Any]:
        if not Path(f).is_file():
            raise HMLError(f"there is no checkpoint {f}; check MODEL.WEIGHT and MODEL.PRETRAINED_DETECTOR_CKPT")
        own = self.has_checkpoint() and f == self.get_checkpoint_file()
        try:
            if own and (damage := damaged_entry(Path(f))):  # torch does not look
                raise HMLError(f"{f} is damaged ({damage}): restore it")
            loaded, notes = read_checkpoint(f)
        except HMLError as error:
            if not own:
                raise
            raise HMLError(f"{error}; or use {self._others(f)} (write its name into {LAST_CHECKPOINT})") from error
        for note in notes:
            self.logger.info("%s: %s", f, note)
        return loaded


class DetectronCheckpointer(Checkpointer):
    """A :class:`Checkpointer` that also finds files by the names of the catalog (``catalog://...``)."""

    def __init__(
        self,
        cfg: CfgNode,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer | None = None,
        scheduler: Any = None,
        save_dir: str = "",
        save_to_disk: bool | None = None,
        logger: logging.Logger | None = None,
        custom_scheduler: bool = False,
    ) -> None:
        super().__init__(model, optimizer, scheduler, save_dir, save_to_disk, logger, custom_scheduler)
        self.cfg = cfg.clone()
        self.partial = cfg.MODEL.PARTIAL_LOAD
        # What this script trains; a frozen detector must fit as a whole.
        self.may_be_new = RELATION_HEAD if cfg.MODEL.RELATION_ON else ""

    def load(self, f: str | None = None, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """As :meth:`Checkpointer.load`; says so where ``MODEL.WEIGHT`` is given and not used."""
        if self.has_checkpoint() and (said := weight_not_used(self.cfg.MODEL.WEIGHT, self.get_checkpoint_file())):
            self.logger.warning(said)
        return super().load(f, *args, **kwargs)

    def save(self, name: str, **kwargs: Any) -> None:
        """As :meth:`Checkpointer.save`, with the scale of the pixels that the weights were trained on."""
        super().save(name, pixels=pixel_scale(self.cfg), **kwargs)

    def _load_file(self, f: str) -> dict[str, Any]:
        """
        Raises:
            HMLError: as :meth:`Checkpointer._load_file`, or the weights expect other pixels than ``INPUT`` gives.
        """
        loaded = super()._load_file(resolve_weights(self.cfg, f))
        trained_on = IMAGENET_PIXELS if from_imagenet(loaded["model"]) else loaded.pop("pixels", None)
        given = pixel_scale(self.cfg)
        if trained_on is not None and trained_on != given:
            raise HMLError(
                f"{f} expects pixels with {_shown(trained_on)}, but the configuration gives {_shown(given)}; "
                "set these INPUT keys to the former"
            )
        return loaded


# torchvision's ImageNet networks: red, green, blue in 0..1, standardised.
IMAGENET_PIXELS = {"TO_BGR255": False, "PIXEL_MEAN": [0.485, 0.456, 0.406], "PIXEL_STD": [0.229, 0.224, 0.225]}


def pixel_scale(cfg: CfgNode) -> dict[str, Any]:
    """The ``INPUT`` keys that decide what number a pixel is."""
    return {
        "TO_BGR255": bool(cfg.INPUT.TO_BGR255),
        "PIXEL_MEAN": [float(v) for v in cfg.INPUT.PIXEL_MEAN],
        "PIXEL_STD": [float(v) for v in cfg.INPUT.PIXEL_STD],
    }


def _shown(pixels: Mapping[str, Any]) -> str:
    return ", ".join(f"INPUT.{key} {value}" for key, value in pixels.items())


def resolve_weights(cfg: CfgNode, f: str) -> str:
    """A weights entry of the configuration as a local path.

    Raises:
        HMLError: it is a URL (nothing is downloaded silently) or not in the catalog.
    """
    if f.startswith(("http://", "https://")):
        raise HMLError(f"{f} would be a download; fetch it yourself and give the path of the file")
    if f.startswith("catalog://"):
        catalog = import_file("maskrcnn_benchmark.config.paths_catalog", cfg.PATHS_CATALOG, True)
        return catalog.ModelCatalog.get(f[len("catalog://") :])
    return f


def clip_grad_norm(
    named_parameters: Sequence[tuple[str, torch.nn.Parameter]],
    max_norm: float,
    logger: logging.Logger,
    clip: bool = False,
    verbose: bool = False,
) -> torch.Tensor:
    """Scale all gradients together so that their common L2 norm is at most ``max_norm``.

    If the norm is infinite or NaN no scaling can help: the gradients are dropped (set to None), so that the optimiser's
    step leaves every weight and momentum as it is, and the parameters concerned are logged.

    Args:
        clip: without it the norm is only measured.
        verbose: log the norm of every gradient, largest first.

    Returns:
        The norm before scaling, a scalar tensor (0 if there is no gradient).
    """
    pairs = [(name, p) for name, p in named_parameters if p.grad is not None]
    if not pairs:
        return torch.zeros(())
    norms = torch.stack([torch.linalg.vector_norm(p.grad.float()).to(pairs[0][1].device) for _, p in pairs])
    total = torch.linalg.vector_norm(norms)
    if not torch.isfinite(total):
        bad = [name for (name, _), ok in zip(pairs, torch.isfinite(norms).tolist()) if not ok]
        logger.warning("The gradient is infinite or NaN in %s; this step is dropped", brief(bad) or "its overall norm")
        for _, p in pairs:
            p.grad = None
        return total
    scale = float(max_norm) / (float(total) + 1e-6)
    if clip and scale < 1:
        for _, p in pairs:
            p.grad.mul_(scale)
    if verbose:
        lines = [f"gradient norm {float(total):.5f}, limit {float(max_norm):g}"]
        for norm, (name, p) in sorted(zip(norms.tolist(), pairs), key=lambda item: -item[0]):
            lines.append(f"  {name:<80s} {norm:.5f}  {tuple(p.shape)}")
        logger.info("\n".join(lines))
    return total
