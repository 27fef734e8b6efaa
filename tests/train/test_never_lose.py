"""Runs that are killed, run twice, interrupted, or out of disk go on to the same bytes: the short form of never_lose."""

import errno
import fcntl
import os
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlx_trace.config import Config
from mlx_trace.errors import UserError
from mlx_trace.train import checkpoint
from tests.train.lab import KINDS, Lab, check, checkpoints, litter, read_metrics
from tests.train.never_lose import fill_disk, interrupt, kill_often, run_twice
from tests.train.test_run import config, run

import mlx.core as mx  # isort: skip

SAVES = ["adapter.safetensors", "optimizer.safetensors", "extra.safetensors", ".adapters.tmp.safetensors"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("lab"))


@pytest.mark.parametrize("kind", KINDS)
def test_killed_again_and_again(lab: Lab, kind: str) -> None:
    kill_often(lab, kind, 3)


def test_two_processes_on_one_run(lab: Lab) -> None:
    run_twice(lab)


@pytest.mark.parametrize("presses", [1, 2])
def test_interrupted_on_a_terminal(lab: Lab, presses: int) -> None:
    interrupt(lab, "sft", presses)


def test_a_disk_that_fills_up(lab: Lab) -> None:
    if fill_disk(lab, 41) is None:
        pytest.skip("mounting a small disk is not permitted here")


# --- in one process ------------------------------------------------------------------------------------------------


def short(model: Path, path: Path) -> Config:
    """Return the configuration of two updates, each saved."""
    data = [{"source": "synthetic", "n": 4, "schemas": ["rate_equation"]}]
    return config(model, path, data=data, batch_size=2, save_every=1, contamination=[], reinforce={"iters": 0})


@pytest.fixture(scope="module")
def whole(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was left alone."""
    path = tmp_path_factory.mktemp("whole") / "run"
    run(short(random_model, path))
    return path


def goes_on(settings: Config, whole: Path) -> None:
    """Check what a run left, go on with it, and compare."""
    path = settings.adapter_path
    check(path)
    run(settings, resume=(path / "config.yaml").exists())
    assert (path / "adapters.safetensors").read_bytes() == (whole / "adapters.safetensors").read_bytes()
    assert read_metrics(path) == read_metrics(whole)
    assert {file.name for file in path.iterdir()} == {file.name for file in whole.iterdir()}
    assert not litter(path)


def failing(original: Callable[..., Any], fails: Callable[..., bool], error: Exception) -> Callable[..., Any]:
    """Return a function that raises an error where `fails` says so."""

    def call(*arguments: Any, **options: Any) -> Any:
        if fails(*arguments):
            raise error
        return original(*arguments, **options)

    return call


def test_a_full_disk_at_any_sync(
    random_model: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    for nth in count():
        settings, calls = short(random_model, tmp_path / f"run-{nth}"), count()
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", failing(os.fsync, lambda _, calls=calls, nth=nth: next(calls) == nth, full))
            try:
                run(settings)
            except UserError as error:
                assert "no space left" in str(error)
            else:
                break
        goes_on(settings, whole)
    assert nth >= 18  # two configurations; an update: metrics, five of a checkpoint, two of the adapter


@pytest.mark.parametrize("name", SAVES)
@pytest.mark.parametrize("nth", [0, 1])
def test_a_full_disk_as_mlx_tells_of_it(
    random_model: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, nth: int
) -> None:
    settings, calls = short(random_model, tmp_path / "run"), count()

    def fails(path: str, _: Any) -> bool:
        if Path(path).name != name or next(calls) < nth:
            return False
        Path(path).write_bytes(b"half")
        return True

    error = RuntimeError("[write] Unable to write 4096 bytes to file.")
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint.mx, "save_safetensors", failing(mx.save_safetensors, fails, error))
        patched.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
        with pytest.raises(UserError, match="no space left on device; free some space and continue with --resume"):
            run(settings)
    goes_on(settings, whole)


@pytest.mark.parametrize("nth", [0, 1])
def test_a_full_disk_in_a_line_of_metrics(
    random_model: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    settings, calls = short(random_model, tmp_path / "run"), count()

    def fails(path: Path, mode: str = "r", *_: Any) -> bool:
        if path.name != "metrics.jsonl" or mode != "a" or next(calls) < nth:
            return False
        with open(path, mode) as file:  # noqa: PTH123
            file.write('{"phase": "sf')
        return True

    full = OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", failing(Path.open, fails, full))
        with pytest.raises(UserError, match=r"metrics\.jsonl: could not be written: no space left"):
            run(settings)
    goes_on(settings, whole)


def test_killed_between_the_last_checkpoint_and_the_adapter(random_model: Path, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    shutil.copy(checkpoints(whole)[0] / "adapter.safetensors", tmp_path / "run" / "adapters.safetensors")
    goes_on(short(random_model, tmp_path / "run"), whole)


def test_a_damaged_checkpoint_is_passed_over(random_model: Path, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    damaged = checkpoints(tmp_path / "run")[-1] / "optimizer.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-8])
    run(short(random_model, tmp_path / "run"), resume=True)
    goes_on(short(random_model, tmp_path / "run"), whole)


def test_what_was_half_written_or_half_removed_goes(random_model: Path, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "state" / "0000009.tmp").mkdir()
    (tmp_path / "run" / "state" / "0000000").mkdir()
    (tmp_path / "run" / ".adapters.tmp.safetensors").write_bytes(b"half")
    goes_on(short(random_model, tmp_path / "run"), whole)


def test_an_adapter_without_checkpoints_is_not_replaced_by_resuming(
    random_model: Path, whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole, tmp_path / "run", ignore=shutil.ignore_patterns("state"))
    with pytest.raises(UserError, match="no checkpoint to go on from"):
        run(short(random_model, tmp_path / "run"), resume=True)
    assert (tmp_path / "run" / "adapters.safetensors").exists()
    run(short(random_model, tmp_path / "run"), overwrite=True)
    goes_on(short(random_model, tmp_path / "run"), whole)


def test_metrics_that_were_moved_away_do_not_come_back_as_zeros(
    random_model: Path, whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole, tmp_path / "run")
    shutil.rmtree(checkpoints(tmp_path / "run")[-1])
    (tmp_path / "run" / "metrics.jsonl").unlink()
    run(short(random_model, tmp_path / "run"), resume=True)
    assert [row["update"] for row in read_metrics(tmp_path / "run")] == [2]


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOLCK])
def test_a_directory_that_cannot_be_locked_is_a_line(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    error = OSError(number, os.strerror(number))
    monkeypatch.setattr(fcntl, "flock", failing(fcntl.flock, lambda *_: True, error))
    with pytest.raises(UserError, match=f"run: {os.strerror(number).lower()}"):
        run(short(random_model, tmp_path / "run"))
