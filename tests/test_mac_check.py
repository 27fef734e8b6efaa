"""What `make mac-check` prints can be pasted anywhere: no names, no paths, no tokens; what failed is told, and no more."""

import importlib.util
import platform
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "eval" / "mac_check.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mac_check", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nothing_private_is_said(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "nobody-else")
    text = (
        f"at {Path.home()}/models/x of nobody-else on {platform.node()}: hf_abcDEF123, sk-12345x \x1b[31m 3/4 tokens/s"
    )
    shown = script.anonymous(text)
    for private in (str(Path.home()) + "/models", "nobody-else", "hf_abc", "sk-1", "\x1b"):
        assert private not in shown
    assert platform.node() not in shown or len(platform.node()) < 2
    assert "3/4 tokens/s" in shown


def test_metrics_are_summed_up_by_phase(script: ModuleType) -> None:
    sft = {"phase": "sft", "seconds": 2.0, "peak_memory": 2e9, "learn_tokens_per_second": 100.0, "loss": 1.0}
    rl = {"phase": "rl", "seconds": 4.0, "peak_memory": 3e9, "rollout_tokens_per_second": 50.0, "reward": 0.5}
    lines = list(script.measured([sft, sft | {"loss": 0.5}, rl]))
    assert (
        lines[0]
        == "sft: 2 updates, 2.00 s in the median, learn 100 tokens/s; measured peak 2.00 GB; loss 1.000 to 0.500"
    )
    assert "rl: 1 updates, 4.00 s" in lines[1] and "rollout 50 tokens/s" in lines[1]


def test_a_step_that_fails_says_its_last_line(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def fails(*arguments: str) -> tuple[int, list[str]]:
        asked.append(arguments)
        return 2, ["mlx-trace: no such thing"]

    monkeypatch.setattr(script, "command", fails)
    lines = list(script.run("tiny", tmp_path / "run", 2, 1))
    assert lines == ["training failed (2): mlx-trace: no such thing"] and len(asked) == 1
