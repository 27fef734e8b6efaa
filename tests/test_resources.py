"""What comes with the package is found from any folder, behind what the folder has itself."""

import json
import os
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

import mlx_trace
from mlx_trace import resources
from mlx_trace.api.trained import TrainedRun
from mlx_trace.cli.main import main
from mlx_trace.config_file import find_config
from mlx_trace.errors import UserError
from mlx_trace.model.start import check_start
from mlx_trace.resources import adapter_at, adapters_dir, cache_dir, expanded, is_bundled, state_dir

TINY = Path("adapters/tiny")
PLAN = ("push", "ours/tiny", "--plan", "--license", "mit")
Out = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in a folder that has no adapters."""
    monkeypatch.chdir(tmp_path)


def test_a_bundled_adapter_is_found_by_its_place_from_anywhere(tmp_path: Path) -> None:
    assert adapter_at(TINY) == adapters_dir() / "tiny"
    assert adapter_at(TINY / "config.yaml") == adapters_dir() / "tiny/config.yaml"
    assert is_bundled(TINY)
    for path in (Path("adapters/none-such"), Path("tiny"), tmp_path / TINY, Path("other/adapters/tiny"),
                 Path("adapters"), Path(), TINY / "none-such", Path("adapters/../adapters/tiny")):  # fmt: skip
        assert adapter_at(path) == path
        assert not is_bundled(path)
    TINY.mkdir(parents=True)
    assert adapter_at(TINY) == TINY, "what is here goes before"
    assert adapter_at(TINY / "config.yaml") == TINY / "config.yaml", "and is not mixed with what is not"


@pytest.mark.parametrize("call", [
    ["plot", "adapters/tiny"], ["report", "adapters/tiny", "--markdown"], [*PLAN, "adapters/tiny"],
    ["export", "--adapter-path", "adapters/tiny", "--peft", "peft"],
    ["report", "adapters/tiny", "adapters/smollm2-135m", "-o", "both.html"],
])  # fmt: skip
def test_every_command_that_takes_a_run_takes_a_bundled_adapter(call: list[str], capsys: Out) -> None:
    if call[0] == "push":
        call = ["push", call[-1], *call[1:-1]]
    assert main(call) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert str(adapters_dir()) not in said.replace(str(adapters_dir() / "tiny") + " is now", ""), "as it was named"


def test_the_card_of_a_fused_model_tells_of_a_bundled_run(random_model: Path, capsys: Out) -> None:
    fused = copytree(random_model, "fused")
    assert main(["push", str(fused), "ours/fused", "--plan", "--run", "adapters/tiny"]) == 0, capsys.readouterr().err
    assert "updates" in capsys.readouterr().out


def test_a_folder_that_is_given_last_is_told_to_come_first(capsys: Out) -> None:
    assert main(["push", "ours/tiny", "adapters/tiny"]) == 2
    assert "the folder comes first: mlx-trace push adapters/tiny ours/tiny" in capsys.readouterr().err


def test_python_finds_bundled_adapters_wherever_it_takes_a_run() -> None:
    run = TrainedRun.open("adapters/tiny")
    assert run.curve("loss")[1]
    assert run.config.model == "tiny"
    assert mlx_trace.load(adapter_path="adapters/tiny").adapter_path == run.adapter_path == run.load().adapter_path


def test_a_configuration_and_weights_in_a_bundled_adapters_folder_are_found() -> None:
    assert find_config("adapters/tiny/config.yaml") == adapters_dir() / "tiny/config.yaml"
    check_start([TINY, TINY / "adapters.safetensors"])
    with pytest.raises(UserError, match="no such file"):
        check_start([TINY / "none.safetensors"])


@pytest.mark.parametrize(("command", "said"), [
    ("samples", "adapters/bare: the adapter that comes with mlx-trace has no samples.jsonl"),
    ("plot", "adapters/bare: the adapter that comes with mlx-trace has no updates in a metrics.jsonl to draw"),
])  # fmt: skip
def test_a_bundled_adapter_that_has_not_what_is_shown_says_so_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out, command: str, said: str
) -> None:
    bare = tmp_path / "package/bare"
    bare.mkdir(parents=True)
    content: dict[str, Any] = {"model": "tiny"}
    (bare / "adapter_config.json").write_text(json.dumps(content), encoding="utf-8")
    monkeypatch.setattr(resources, "adapters_dir", lambda: tmp_path / "package")
    assert main([command, "adapters/bare"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"mlx-trace: {said}")


@pytest.mark.parametrize("name", ["~", "~nobody-of-that-name/x", "~/x"])
def test_a_home_that_nobody_has_is_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(os.path, "expanduser", os.fspath)  # as for a user without HOME and without a passwd entry
    monkeypatch.delenv("MLX_TRACE_CACHE", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert expanded(name) == Path(name), "which leads nowhere, and is said to"
    for folder in (cache_dir(), state_dir()):
        assert folder.is_absolute() and "~" not in str(folder)
        assert not folder.is_relative_to(tmp_path), "nothing is strewn about under a folder called ~"


def test_homes_are_looked_up_in_one_place() -> None:
    package = Path(mlx_trace.__file__).parent
    texts = {path.name: path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    assert [name for name, text in texts.items() if "expanduser(" in text] == ["resources.py"]
