"""A run that is resumed is what it was started as, wherever it, its base and its data are by now."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlx_trace.cli.main import main
from mlx_trace.errors import UserError
from mlx_trace.train.interrupt import Interrupted
from mlx_trace.train.resuming import resumed
from mlx_trace.train.run import plan, train
from tests.train.test_run import adapter, config, run


def test_a_run_whose_base_data_and_folder_were_moved_ends_with_the_same_bytes(
    random_model: Path, tmp_path: Path
) -> None:
    old, new = tmp_path / "old", tmp_path / "ein Ordner, ä"
    base, data, start = old / "base", old / "problems.jsonl", old / "start"
    shutil.copytree(random_model, base)
    assert main(["generate", "-n", "12", "--schema", "rate_equation", "-o", str(data)]) == 0
    small: dict[str, Any] = {"data": [{"source": "file", "path": str(data)}], "reinforce": {"iters": 0}}
    run(config(base, start, iters=1, **small))
    small |= {"iters": 4, "resume_adapter_file": str(start)}
    run(config(base, tmp_path / "whole", **small))
    with pytest.raises(Interrupted):
        run(config(base, old / "stopped", **small), stop_at=2)
    shutil.rmtree(start)  # only a beginning needs it
    old.rename(new)

    said = {"adapter_path": str(new / "stopped"), "model": str(new / "base")}
    settled = resumed(None, {**said, "data": [{"source": "file", "path": str(new / "problems.jsonl")}]})
    train(plan(settled, resume=True), lambda *_: None, resume=True)
    assert adapter(new / "stopped") == adapter(tmp_path / "whole")


def left(tmp_path: Path, model: str) -> Path:
    """Leave the configuration of a run; return its folder."""
    folder = tmp_path / "run"
    folder.mkdir()
    content = {"model": model, "data": [{"source": "synthetic", "n": 4}, {"source": "file", "path": "p.jsonl", "n": 3}]}
    (folder / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder


@pytest.mark.parametrize(("model", "changes", "said"), [
    ("tiny", {"model": "."}, "model: the run was started with tiny, not ."),
    ("smollm2-135m", {"model": "."}, "model: the run was started with smollm2-135m, not ."),
    ("base", {"model": "nowhere"}, "model: the run was started with base, not nowhere"),
    ("base", {"data": [{"source": "synthetic", "n": 4}, {"source": "file", "path": "q.jsonl", "n": 2}]}, "data: the run"),
    ("base", {"data": [{"source": "synthetic", "n": 4}]}, "data: the run"),
    ("base", {"data": [{"source": "synthetic", "n": 5}, {"source": "file", "path": "q.jsonl", "n": 3}]}, "data: the run"),
])  # fmt: skip
def test_what_is_more_than_another_place_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, changes: dict[str, Any], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = left(tmp_path, model)
    with pytest.raises(UserError) as error:
        resumed(None, {"adapter_path": str(folder), **changes})
    assert any(line.startswith(said) for line in error.value.faults)


def test_a_base_that_is_not_there_is_named_with_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    left(tmp_path, "./models/base")
    assert main(["train", "--resume", "--adapter-path", "run"]) == 2
    said = capsys.readouterr().err
    assert f"run/config.yaml: its base './models/base' is not found, from {tmp_path} if it is a path" in said
    assert "--model names it" in said
