"""Counts mean what they say: a scripted model's replies are parsed, run and compared, each by itself."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlx_trace.config_decoding import Decoding
from mlx_trace.evaluate.evaluate import evaluate
from mlx_trace.evaluate.record import summarise
from mlx_trace.evaluate.strata import strata
from mlx_trace.evaluate.suites import SUITES, suite
from mlx_trace.model.base import Base
from mlx_trace.model.prompts import Prompter
from mlx_trace.problems.contamination import Overlap, overlaps
from mlx_trace.problems.problem import Problem
from mlx_trace.problems.synthetic.generator import Options, generate_balanced
from mlx_trace.problems.synthetic.schema import load_schemas, select_schemas

FREE = Decoding(constraint="none")
RIGHT = """\
expert: arithmetic
trace:
- {op: init, var: a, value: 8}
- {op: compute, compute_op: add, args: [a, 1], var: b}
- {op: query, var: b}"""


def ask(name: str, expert: str | None = "arithmetic") -> Problem:
    return Problem(id=name, question=f"question {name}?", answer="9", expert=expert, trace=RIGHT)


@pytest.fixture
def scripted_base(random_base: Base, prompter: Prompter, scripted: Callable[..., Any]) -> Callable[..., Base]:
    def make(replies: dict[str, str]) -> Base:
        def encode(text: str) -> list[int]:
            return [*prompter.tokenizer.encode(text, add_special_tokens=False), prompter.tokenizer.eos_token_id]

        queued = {tuple(prompter.ids(ask(name).question)): encode(text) for name, text in replies.items()}
        return replace(random_base, network=scripted(queued, vocab_size=len(prompter.tokenizer.get_vocab())))

    return make


def test_parsed_valid_and_correct_are_three_counts(scripted_base: Callable[..., Base], prompter: Prompter) -> None:
    replies = {
        "right": RIGHT + "\n```",
        "wrong": RIGHT.replace("1]", "2]") + "\n```",
        "invalid": RIGHT.replace("[a, 1]", "[z, 1]") + "\n```",
        "prose": "I think it is nine.",
        "other expert": RIGHT.replace("arithmetic", "comparison") + "\n```",
        "endless": "eggs " * 80,
    }
    problems = [ask(name) for name in replies]
    records = list(evaluate(scripted_base(replies), prompter, problems, 300, FREE))
    kinds = [(record.parsed, record.valid, record.correct) for record in records]
    assert kinds == [(True, True, True), (True, True, False), (True, False, False), (False, False, False),
                     (True, True, True), (False, False, False)]  # fmt: skip
    summary = summarise(records)
    assert (summary.parsed.count, summary.valid.count, summary.correct.count, summary.parsed.n) == (4, 3, 2, 6)
    assert [record.problem for record in records] == problems
    assert summary.as_json()["correct"]["count"] == 2
    row = json.loads(records[1].as_json())
    assert (row["got"], row["answer"], row["kind"], row["correct"]) == ("10", "9", "wrong_answer", False)


def test_a_reply_that_is_cut_off_is_marked(scripted_base: Callable[..., Base], prompter: Prompter) -> None:
    (record,) = evaluate(scripted_base({"long": RIGHT}), prompter, [ask("long")], 4, FREE)
    assert record.truncated
    assert record.tokens == 4


def test_experts_are_counted_apart(scripted_base: Callable[..., Base], prompter: Prompter) -> None:
    base = scripted_base({"a": RIGHT, "b": "no", "c": RIGHT})
    problems = [ask("a"), ask("b", "comparison"), ask("c", None)]
    experts = dict(strata("expert", evaluate(base, prompter, problems, 300, FREE)))
    assert {name: (sum(record.correct for record in own), len(own)) for name, own in experts.items()} == {
        "arithmetic": (2, 2), "comparison": (0, 1)}  # fmt: skip


def test_suites_are_the_same_at_every_call_and_apart_from_each_other() -> None:
    for name in SUITES:
        assert suite(name, 60) == suite(name, 60)
        assert len(suite(name, 60)) == 60
    questions = [{problem.question for problem in suite(name, 200)} for name in SUITES]
    assert not questions[0] & questions[1]


def test_the_everyday_questions_stand_in_no_family() -> None:
    everyday = suite("everyday")
    assert len(everyday) == 30
    assert all(problem.answer is not None and problem.trace is None for problem in everyday)
    told = {words for problem in everyday for words in _runs(problem.question)}
    families = select_schemas([], load_schemas())
    for split in ("train", "eval"):
        drawn = generate_balanced(families, 1000, 3, Options(split))
        assert overlaps({"everyday": everyday}, drawn) == [Overlap("everyday", 30, 0, 0, 0)]
        assert not [problem.question for problem in drawn if not told.isdisjoint(_runs(problem.question))]


def _runs(question: str) -> set[tuple[str, ...]]:
    words = re.findall("[a-z]+", question.lower())
    return {tuple(words[at : at + 8]) for at in range(len(words) - 7)}


def test_a_file_is_a_suite(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "q", "answer": "x #### 5"}\n' * 3, encoding="utf-8")
    assert len(suite(str(path), 2)) == 2
