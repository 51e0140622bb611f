"""Arguments and configuration: every mistake is one sentence, and nothing is written."""

from __future__ import annotations

import pytest
from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.engine.launch import (
    argument_parser,
    check_run,
    evaluated_types,
    merged_config,
    start_processes,
    start_training,
)

from maskrcnn_benchmark_hml.errors import HMLError


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("MODEL:\n  DEVICE: cpu\nSOLVER:\n  MAX_ITER: 7\n")
    return path


def test_file_then_command_line(file):
    merged = merged_config(cfg, str(file), ["SOLVER.MAX_ITER", "9", "DATASETS.VAL", "('a',)"])
    assert (merged.SOLVER.MAX_ITER, merged.MODEL.DEVICE, merged.DATASETS.VAL) == (9, "cpu", ("a",))
    assert merged.is_frozen() and not cfg.is_frozen() and cfg.MODEL.DEVICE == "cuda"
    check_run(merged)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("SOLVER:\n  MAX_ITR: 7\n", "SOLVER.MAX_ITR.*SOLVER.MAX_ITER"),
        ("SOLVER: [\n", "not valid YAML at line"),
        ("SOLVER:\n  MAX_ITER: many\n", "defaults.yaml"),
        ("HML:\n  ENABLED: true\n", "hml run"),
        ("just a word", "c.yaml"),
        ("\x00", "c.yaml"),
    ],
)
def test_bad_file(file, text, says):
    file.write_text(text)
    with pytest.raises(HMLError, match=says):
        merged_config(cfg, str(file), [])


@pytest.mark.parametrize(
    ("opts", "says"),
    [
        (["SOLVER.MAX_ITER"], "has no value"),
        (["SOLVER.MAXITER", "3"], "did you mean SOLVER.MAX_ITER"),
        (["NOTHING.LIKE.IT", "3"], "no key NOTHING"),
        (["SOLVER.MAX_ITER", "many"], "defaults.yaml"),
        (["HML.ENABLED", "True"], "hml run"),
    ],
)
def test_bad_command_line(file, opts, says):
    with pytest.raises(HMLError, match=says):
        merged_config(cfg, str(file), opts)


def test_missing_file(tmp_path):
    with pytest.raises(HMLError, match="--config-file"):
        merged_config(cfg, "", [])
    with pytest.raises(HMLError, match="absent.yaml"):
        merged_config(cfg, str(tmp_path / "absent.yaml"), [])
    with pytest.raises(HMLError, match="no configuration file"):
        merged_config(cfg, str(tmp_path), [])


@pytest.mark.parametrize(
    ("opts", "says"),
    [
        (["DTYPE", "float8"], "DTYPE"),
        (["MODEL.MASK_ON", "True"], "MODEL.MASK_ON"),
        (["TEST.BBOX_AUG.ENABLED", "True"], "BBOX_AUG"),
        (["MODEL.WEIGHT", "absent.pth"], "absent.pth"),
        (["MODEL.PRETRAINED_DETECTOR_CKPT", "absent.pth"], "PRETRAINED_DETECTOR_CKPT"),
        (["MODEL.WEIGHT", "catalog://ImageNet"], "local file"),
        (["SOLVER.VAL_PERIOD", "0"], "VAL_PERIOD"),
    ],
)
def test_check_run(file, opts, says):
    with pytest.raises(HMLError, match=says):
        check_run(merged_config(cfg, str(file), opts))


def test_gpu_wanted_but_absent(file, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(HMLError, match="MODEL.DEVICE cpu"):
        check_run(merged_config(cfg, str(file), ["MODEL.DEVICE", "cuda"]))


@pytest.mark.parametrize("flag", ["--local_rank=3", "--local-rank=3"])
def test_both_spellings_of_the_launcher(flag, monkeypatch):
    assert argument_parser("x").parse_args([flag, "A", "1"]).local_rank == 3
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert argument_parser("x").parse_args([]).local_rank == 2


def test_one_process_needs_no_group(file, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert start_processes(merged_config(cfg, str(file), []), 0) is False


def test_what_is_evaluated():
    own = cfg.clone()
    assert evaluated_types(own) == ("bbox",)
    own.MODEL.RELATION_ON = True
    assert evaluated_types(own) == ("bbox", "relations")


def test_a_folder_of_hml_is_refused_before_it_is_touched(file, tmp_path, monkeypatch):
    """The script alone, without hml run, would train HML's weights on as the plain model."""
    (tmp_path / "out" / "hml").mkdir(parents=True)
    (tmp_path / "out" / "hml" / "settings.json").write_text("{}")
    words = ["train.py", "--config-file", str(file), "OUTPUT_DIR", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(HMLError, match="out holds an HML run.*HML.ENABLED True"):
        start_training(argument_parser("Train"), cfg, lambda own: None)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["hml"]
