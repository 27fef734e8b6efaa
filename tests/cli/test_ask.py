"""One question has one answer, on standard output or in JSON, and an exit code that says whether it stands."""

import json
import sys
from io import StringIO
from pathlib import Path

import pytest

from mlx_trace.cli.main import main

Out = pytest.CaptureFixture[str]
EGGS = "I had 20 eggs and sold 4 of them. How many are left?"


def rambling(path: Path) -> list[str]:
    return ["--model", str(path), "--adapter-path", "none", "--max-tokens", "3", "--constraint", "none"]


def test_an_answer_is_the_same_in_every_form(capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["ask", "--json", EGGS]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["question"] == EGGS
    assert main(["ask", "-q", *EGGS.split()]) == 0
    assert capsys.readouterr().out == f"{row['answer']}\n"
    assert main(["ask", EGGS]) == 0
    shown = capsys.readouterr().out
    assert row["trace"] in shown
    assert shown.endswith(f"= {row['answer']}\n")
    for words in ([], ["-"]):
        monkeypatch.setattr(sys, "stdin", StringIO("\ufeff" + EGGS.replace(". ", ".\n") + "\n\n"))
        assert main(["ask", *words, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == row


def test_what_is_no_answer_exits_with_one(random_model: Path, capsys: Out) -> None:
    assert main(["ask", *rambling(random_model), "-q", EGGS]) == 1
    assert capsys.readouterr().out == ""
    assert main(["ask", *rambling(random_model), "--json", EGGS]) == 1
    assert json.loads(capsys.readouterr().out)["kind"] == "parse_failure"
    assert main(["ask", *rambling(random_model), EGGS]) == 1
    assert "no trace: " in capsys.readouterr().out
    assert main(["ask", *rambling(random_model), "--samples", "3", EGGS]) == 1
    assert "none of 3 replies has an answer" in capsys.readouterr().out


def test_a_split_vote_exits_with_one(random_model: Path, capsys: Out) -> None:
    flags = ["--model", str(random_model), "--adapter-path", "none", "--max-tokens", "99", "--samples", "8", "--temperature", "1"]  # fmt: skip
    code = main(["ask", *flags, "--json", EGGS])
    row = json.loads(capsys.readouterr().out)
    assert code == (1 if row["split"] or row["answer"] is None else 0)
    assert row["split"], "a model that knows nothing does not agree with itself"
    assert main(["ask", *flags, "-q", EGGS]) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "typed", "said"),
    [
        (["hello"], "", "there is nothing to compute: no number is stated"),
        ([], "\n \n", "there is no question"),
        (["-"], "", "there is no question"),
        (["4 eggs", "\udcff"], "", "the question is not UTF-8 text"),
        ([], "7" * (1 << 20) + "7", "a question is at most 1,048,576 characters long"),
    ],
    ids=("greeting", "blank", "empty", "bytes", "endless"),
)
def test_what_cannot_be_asked_is_said_before_a_model_is_loaded(
    words: list[str], typed: str, said: str, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO(typed))
    assert main(["ask", "--model", "no/such/model", *words]) == 2
    assert said in capsys.readouterr().err
