"""Code that comes with a model or a run folder runs on the command line's word alone, and nobody is asked for it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlx_trace.cli.main import main
from tests.conftest import byte_level_tokenizer, write_model

Out = pytest.CaptureFixture[str]
FUNCTION = "def reward(problem, reply, grade):\n    return 1.0\n"


@pytest.fixture
def coded(tmp_path: Path) -> Path:
    """A model whose tokenizer is code, which leaves a file where it runs."""
    model = write_model(tmp_path / "coded", byte_level_tokenizer())
    code = f"import pathlib\nfrom transformers import PreTrainedTokenizerFast\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n"
    (model / "own.py").write_text(code + "class Own(PreTrainedTokenizerFast):\n    pass\n", encoding="utf-8")
    file = model / "tokenizer_config.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content |= {"auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}, "tokenizer_class": "Own"}
    file.write_text(json.dumps(content), encoding="utf-8")
    return model


@pytest.mark.parametrize("trusted", [False, True])
def test_a_tokenizers_code_runs_by_the_flag_and_never_by_a_piped_yes(
    coded: Path, tmp_path: Path, trusted: bool
) -> None:
    command = [sys.executable, "-m", "mlx_trace", "chat", "--model", str(coded), "--adapter-path", "none", "--cap", "8"]
    found = subprocess.run([*command, *["--trust-remote-code"] * trusted], input="y\nyes\n", text=True, capture_output=True,
                           env=os.environ | {"HF_MODULES_CACHE": str(tmp_path / "modules")})  # fmt: skip
    assert (tmp_path / "ran").exists() == trusted
    assert found.returncode == (0 if trusted else 2)
    assert ("--trust-remote-code runs it" in found.stderr) == (not trusted)
    assert "y/N" not in found.stdout + found.stderr
    assert ("> yes" in found.stdout) == trusted, "what is piped is questions"


def test_a_local_class_stands_in_for_code_that_is_not_trusted(
    coded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlx_trace.model.base import load_base

    file = coded / "tokenizer_config.json"
    content = json.loads(file.read_text(encoding="utf-8")) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    file.write_text(json.dumps(content), encoding="utf-8")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("somebody is asked"))
    assert load_base(str(coded)).tokenizer.encode("How")
    assert not (tmp_path / "ran").exists()


def test_a_network_that_is_code_is_not_built_without_the_flag(random_model: Path, tmp_path: Path, capsys: Out) -> None:
    model = shutil.copytree(random_model, tmp_path / "m")
    (model / "own.py").write_text(
        f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n", encoding="utf-8"
    )
    file = model / "config.json"
    file.write_text(
        json.dumps(json.loads(file.read_text(encoding="utf-8")) | {"model_file": "own.py"}), encoding="utf-8"
    )
    assert main(["chat", "--model", str(model), "--adapter-path", "none"]) == 2
    assert "--trust-remote-code allows that" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def run(random_model: Path, tmp_path: Path) -> Path:
    """A run folder from somewhere, whose configuration names code."""
    (tmp_path / "run").mkdir()
    (tmp_path / "mine.py").write_text(
        f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n{FUNCTION}", encoding="utf-8"
    )
    content: dict[str, Any] = {
        "model": str(random_model), "adapter_path": str(tmp_path / "run"), "num_layers": 1, "contamination": [], "epochs": 0,
        "data": [{"source": "synthetic", "n": 8}], "max_seq_length": 2048,
        "reinforce": {"iters": 1, "reward_function": f"{tmp_path / 'mine.py'}:reward"},
    }  # fmt: skip
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return tmp_path / "run"


def test_a_runs_reward_function_wants_the_command_line(run: Path, tmp_path: Path, capsys: Out) -> None:
    there, file = ["--adapter-path", str(run)], ["-c", str(run / "config.yaml")]
    for how in (["--resume", *there], ["--resume", "--plan", *there], ["--plan", *file], ["--resume", *file]):
        assert main(["train", *how]) == 2
        assert "reinforce.reward_function: runs code; --reinforce.reward-function" in capsys.readouterr().err
        assert not (tmp_path / "ran").exists()
    assert main(["train", "--plan", *file, "--reinforce.reward-function", f"{tmp_path / 'mine.py'}:reward"]) == 0
    assert (tmp_path / "ran").exists()


def test_a_runs_trust_wants_the_command_line(run: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    content = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    content |= {"trust_remote_code": True, "reinforce": {"iters": 1}}
    (run / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    for how in (["--resume", "--adapter-path", str(run)], ["--plan", "-c", str(run / "config.yaml")]):
        assert main(["train", *how]) == 2
        assert "trust_remote_code: runs code that comes with the model; --trust-remote-code" in capsys.readouterr().err
    assert main(["train", "--plan", "-c", str(run / "config.yaml"), "--trust-remote-code"]) == 0
