"""`mlx-trace init` asks four questions, writes what can be read back, and never what somebody has not agreed to lose."""

import io
import json
import sys
from pathlib import Path

import pytest
import yaml

from mlx_trace.cli import init as module
from mlx_trace.cli.main import main
from mlx_trace.config_file import load_config
from mlx_trace.memory.published import PUBLISHED
from mlx_trace.starter import PURPOSES, written

Out = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "_this_mac", lambda: (16, None))
    return tmp_path


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("purpose", PURPOSES)
def test_flags_answer_and_nothing_is_asked(purpose: str, here: Path, capsys: Out) -> None:
    flags = ["--model", "llama32-1b", "--data", "synthetic", "--mac", "M2 16", "--for", purpose, "-o", "mine.yaml"]
    assert main(["init", *flags]) == 0
    shown = capsys.readouterr()
    assert shown.err == "" and "wrote mine.yaml" in shown.out and "16 GB, M2: " in shown.out
    assert "mlx-trace train -c mine.yaml --plan" in shown.out
    text = (here / "mine.yaml").read_text(encoding="utf-8")
    config = load_config(here / "mine.yaml", {})
    assert config.model == "llama32-1b" and text.count("\n# ") > 8
    assert (config.reinforce.iters == 0) == (purpose == "reasons")
    assert (config.prompt.trace_form == "commented") == (purpose == "reasons")


@pytest.mark.parametrize("model", [entry.configuration for entry in PUBLISHED if entry.configuration != "smollm2"])
def test_every_known_model_is_made_to_fit_or_it_is_said(model: str, here: Path, capsys: Out) -> None:
    name = {"tinyllama": "tinyllama-1.1b"}.get(model, model)
    assert main(["init", "--yes", "--model", name, "--mac", "8", "-o", f"{model}.yaml"]) == 0
    fits = "8 GB, M1: does not fit" not in (here / f"{model}.yaml").read_text(encoding="utf-8")
    assert ("it does not fit 8 GB" not in capsys.readouterr().out) == fits
    assert load_config(here / f"{model}.yaml", {}).prompt.template == ("raw" if model.endswith("base") else "chat")


def test_answers_come_from_a_pipe_line_by_line(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("qwen25-1.5b\n\nM1 Pro 32\ntry\n"))
    assert main(["init", "-o", "mine.yaml"]) == 0
    assert "Which model?" in capsys.readouterr().err
    assert load_config(here / "mine.yaml", {}).model == "qwen25-1.5b"
    monkeypatch.setattr(sys, "stdin", io.StringIO("qwen25-1.5b\n"))
    assert main(["init", "-o", "other.yaml"]) == 2
    assert "there is no answer" in capsys.readouterr().err
    assert not (here / "other.yaml").exists()


def test_a_slip_is_asked_again_on_a_terminal_and_an_error_elsewhere(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("llama32-2b\nllama32-1b\n\nlots\n16\n\n"))
    assert main(["init", "-o", "mine.yaml"]) == 0
    told = capsys.readouterr().err
    assert "did you mean llama32-" in told and "'lots': is no Mac" in told
    for flags in (["--model", "llama32-2b"], ["--mac", "lots"], ["--mac", "M9"], ["--data", "nothing.jsonl"],
                  ["--model", "owner/unheard-of"], ["-o", "no/such/folder.yaml"]):  # fmt: skip
        assert main(["init", "--yes", *flags]) == 2, flags
        assert capsys.readouterr().err.startswith("mlx-trace")


def test_a_file_that_is_there_stays_unless_somebody_says_so(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    file = here / "mine.yaml"
    file.write_text("seed: 7\n", encoding="utf-8")
    assert main(["init", "--yes", "-o", "mine.yaml"]) == 2
    assert "--overwrite replaces it" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    assert main(["init", "-o", "mine.yaml"]) == 2
    assert file.read_text(encoding="utf-8") == "seed: 7\n"
    monkeypatch.setattr(sys, "stdin", Terminal("y\n\n\n\n\n"))
    assert main(["init", "-o", "mine.yaml"]) == 0
    assert main(["init", "--yes", "-o", "mine.yaml", "--overwrite"]) == 0


def test_data_with_answers_alone_are_for_reinforcement(here: Path) -> None:
    rows = [{"question": f"Ann has {n} eggs and gets 3. How many?", "answer": str(n + 3)} for n in range(4, 30)]
    (here / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert main(["init", "--yes", "--data", "rows.jsonl"]) == 0
    config = load_config(here / "mlx-trace.yaml", {})
    assert [source.source for source in config.data] == ["synthetic"]
    assert config.reinforce.data is not None and config.reinforce.iters == 90


def test_a_title_of_several_lines_is_a_comment_all_the_same() -> None:
    assert yaml.safe_load(written({"seed": 3}, ["a\nmodel: other", "b"])) == {"seed": 3}
