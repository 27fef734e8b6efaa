"""Several replies to a question: what eval and chat say of them, and what is refused before a model is loaded."""

import json
import sys
from fractions import Fraction
from io import StringIO
from pathlib import Path

import pytest

from mlx_trace.chat import say_vote
from mlx_trace.cli.main import main
from mlx_trace.evaluate.vote import Ballot, Vote

Out = pytest.CaptureFixture[str]


def model(path: Path) -> list[str]:
    return ["--model", str(path), "--adapter-path", "none", "--max-tokens", "99", "--cap", "8"]


@pytest.mark.parametrize("command", ["eval", "chat"])
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--samples", "4", "--temperature", "0"), "--samples 4: at temperature 0 all replies are one"),
        (("--seed", "3"), "--seed 3: at temperature 0 nothing is sampled"),
        (("--samples", "0"), "0 is below 1"),
        (("--samples", "9999"), "9999 is above 1,024"),
        (("--temperature", "-1"), "'-1' is not a number from 0 to 100"),
        (("--temperature", "nan"), "'nan' is not a number from 0 to 100"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused_first(command: str, flags: tuple[str, ...], said: str, capsys: Out) -> None:
    try:
        code = main([command, "--model", "no/such/model", *flags])
    except SystemExit as error:
        code = int(str(error.code))
    assert code == 2
    told = capsys.readouterr().err
    assert said in told
    assert "no/such/model" not in told


def test_eval_lets_samples_vote(random_model: Path, tmp_path: Path, capsys: Out) -> None:
    file, data = tmp_path / "records.jsonl", tmp_path / "data.jsonl"
    rows = [{"question": f"{n} eggs and 3 more are how many?", "answer": str(n + 3)} for n in (4, 5, 6)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    flags = ["eval", *model(random_model), "--data", str(data), "--samples", "3", "--batch-size", "2"]
    assert main([*flags, "--seed", "5", "--json", "-o", str(file)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["n"], report["samples"], report["temperature"], report["seed"]) == (3, 3, 0.7, 5)
    assert list(report["pass"]) == ["1", "2", "3"]
    assert report["pass"]["1"] == report["one_sample"]
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [record["question"] for record in records] == [row["question"] for row in rows]
    assert all(len(record["samples"]) == 3 for record in records)
    assert len({sample["output"] for record in records for sample in record["samples"]}) > 3, "they differ"
    assert main([*flags, "--temperature", "1"]) == 0
    table = " ".join(capsys.readouterr().out.split())  # a long path breaks the title
    assert all(heading in table for heading in ("one sample", "vote of 3", "pass@3", "3 samples at temperature 1"))


def test_one_greedy_reply_is_told_as_ever(random_model: Path, capsys: Out) -> None:
    flags = ["eval", *model(random_model), "-n", "2", "--json"]
    told = []
    for more in ([], ["--samples", "1"], ["--temperature", "0"], ["--temperature", "0.5"]):
        assert main([*flags, *more]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert list(told[0]) == ["model", "adapter", "data", "constraint", "grounding", "rules", "max_tokens_per_pass", "n",
                             "parsed", "valid", "correct", "truncated", "prompt_tokens", "tokens", "sampled", "seconds", "experts", "causes"]  # fmt: skip
    assert [set(one) - set(told[0]) for one in told] == [set(), set(), set(), {"samples", "temperature", "seed"}]
    assert {one["tokens"] for one in told[:3]} == {told[0]["tokens"]}


QUESTIONS = "hello\nTom has 4 eggs and 7 hens. How many eggs?\n"


@pytest.mark.parametrize("samples", [1, 4])
def test_chat_computes_nothing_from_nothing(
    samples: int, random_model: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["chat", *model(random_model), "--samples", str(samples)]
    monkeypatch.setattr(sys, "stdin", StringIO(QUESTIONS))
    assert main([*flags, "--json"]) == 0
    greeting, eggs = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (greeting["answer"], greeting["trace"]) == (None, "")
    assert greeting["detail"] == "there is nothing to compute: no number is stated"
    assert set(eggs["unused"]) <= {"4", "7"}
    assert ("agreement" in eggs) == (samples > 1)
    monkeypatch.setattr(sys, "stdin", StringIO(QUESTIONS))
    assert main(flags) == 0
    out = capsys.readouterr().out
    assert out.count("nothing to compute") == 1
    assert ("of 4 " in out) == (samples == 4)
    assert (f"this answer does not use {', '.join(eggs['unused'])}" in out) == bool(eggs["unused"])


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ((12, 12, 7, 12, None, 12, 12, 12), "6 of 8 say 12, 1 says 7, 1 has no answer"),
        ((5, 5), "2 of 2 say 5"),
        ((5,), "1 of 1 says 5"),
        ((3, 4, 4, 3), "the vote is split: 2 of 4 say 3, 2 say 4"),
        ((None, None, 3), "the vote is split: 1 of 3 says 3, 2 have no answer"),
        ((None, None), "none of 2 replies has an answer"),
        ((9, 9, 1, 2, 3, 4, 5), "the vote is split: 2 of 7 say 9, 1 says 1, 1 says 2, 1 says 3, 2 say something else"),
    ],
    ids=str,
)
def test_a_vote_is_said_in_words(answers: tuple[int | None, ...], said: str) -> None:
    one = Fraction(1)
    assert say_vote(Vote([Ballot(None if answer is None else one * answer, one) for answer in answers])) == said


def test_a_vote_says_that_more_samples_were_outweighed() -> None:
    vote = Vote([Ballot(Fraction(4), Fraction(1, 3))] * 2 + [Ballot(Fraction(9), Fraction(1))])
    assert say_vote(vote) == "the vote is split: 1 of 3 says 9, 2 say 4 (the first uses more of the question's numbers)"
