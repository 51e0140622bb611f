"""A full disk gives one sentence with the file and the space that it needs, and leaves nothing half written behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from maskrcnn_benchmark_hml import cli
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.files import aside_of, save_torch, write_text
from maskrcnn_benchmark_hml.host.launch import run_script
from maskrcnn_benchmark_hml.host.weights import wrap_weights

from .conftest import run_options

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full, a device that is always full")
SENTENCE = r"cannot be written \(No space left on device: \d+ MB are free, it takes 5 MB\); free some space, then give"


def test_our_own_files(tmp_path):
    path = tmp_path / "memory.pt"
    aside_of(path).symlink_to(FULL)
    with pytest.raises(HMLError, match=f"the stage memory {path} {SENTENCE}"):
        # save_torch removes what its own process left over, so the device takes the file's place afterwards
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("maskrcnn_benchmark_hml.files.remove_left_over", lambda path: None)
            save_torch({"a": [torch.ones(1 << 20)], "b": torch.ones(100)}, path, "stage memory")
    aside_of(tmp_path / "a.json").symlink_to(FULL)
    with pytest.raises(HMLError, match=r"a.json cannot be written \(No space left on device: \d+ MB are free\); free"):
        write_text(tmp_path / "a.json", "x")
    assert not list(tmp_path.iterdir())


class SavesAsSGB:
    """SGB's ``save``: straight to the path."""

    def __init__(self, folder: Path) -> None:
        self.model, self.optimizer, self.save_dir = nn.Linear(1024, 1023), None, str(folder)

    def save(self, name: str, **kwargs) -> None:
        torch.save({"model": self.model.state_dict(), **kwargs}, f"{self.save_dir}/{name}.pth")


def test_a_checkpoint_of_a_checkout(tmp_path):
    namespace = {"DetectronCheckpointer": SavesAsSGB}
    wrap_weights(namespace)
    (tmp_path / "model_final.part.pth").symlink_to(FULL)
    with pytest.raises(HMLError, match=rf"the checkpoint .*model_final.part.pth {SENTENCE.replace('5 MB', '4 MB')}"):
        namespace["DetectronCheckpointer"](tmp_path).save("model_final.part", iteration=1)
    assert not list(tmp_path.iterdir())
    with pytest.raises(RuntimeError, match="Parent directory"):  # another fault stays what it is
        namespace["DetectronCheckpointer"](tmp_path / "none").save("model_final")


def test_a_file_that_the_host_writes_itself(monkeypatch, capsys):
    for error, said in (
        (OSError(28, "No space left on device", "out/a"), "the file out/a cannot be written (No space left"),
        (OSError(30, "Read-only file system", "out/a"), "out/a cannot be written (Read-only file system); choose"),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"), "a file cannot be wri"),
    ):
        def fail(words, error=error):
            raise error

        monkeypatch.setattr(cli, "dispatch", fail)
        assert cli.main(["run"]) == 2
        assert said in capsys.readouterr().err
    monkeypatch.setattr(cli, "dispatch", lambda words: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["run"])


def test_a_run_ends_with_the_sentence_and_goes_on_when_there_is_room(tiny_vg, tmp_path, monkeypatch):
    out, save = tmp_path / "out", torch.save
    options = run_options(tiny_vg, out, "HML.STAGES.ITERATIONS", "1,1", "SOLVER.TO_VAL", "False")

    def on_a_full_disk(content, file, *args, **kwargs):
        full = isinstance(content, dict) and "optimizer" in content
        save(content, FULL if full else file, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", on_a_full_disk)
        with pytest.raises(HMLError, match=r"model_final.* cannot be written \(No space left on device: .* it takes"):
            run_script(options[2], options[3:], data=options[1])
    assert not list(out.rglob("*.part*")) and not (out / "hml" / "settings.json").exists()
    left = [out / ".model_final.pth.999999999.part", out / "hml" / "stage1" / "model_0000001.part.pth",
            out / "hml" / "stage1" / ".memory.pt.999999999.part"]
    for path in left:
        path.touch()
    run_script(options[2], options[3:], data=options[1])
    assert not list(out.rglob("*.part*")) and (out / "model_final.pth").is_file()
