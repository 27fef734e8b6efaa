"""What is held out was settled once: no change to numbers, names or skeletons moves a question to the other side."""

import json
from hashlib import blake2b
from typing import Any

import pytest

from mlx_trace.language import mentions
from mlx_trace.problems import skeleton
from mlx_trace.problems.compile.compiler import Compiled, compile_row
from mlx_trace.problems.split import RECORD, is_held_out, wording_of
from mlx_trace.problems.synthetic.generator import generate_balanced
from mlx_trace.problems.synthetic.schema import load_schemas
from mlx_trace.problems.variants.tell import variants
from mlx_trace.resources import split_dir
from tests.paths import SHARED
from tests.problems.rows import ROWS

FROZEN = {"held_out": (764, "4282808f33ae9dbc"), "training": (6709, "1282a96bc5fa065a")}


def train_file() -> list[str]:
    path = SHARED / "data/gsm8k/train.jsonl"
    if not path.exists():
        pytest.skip("shared/data/gsm8k/train.jsonl is absent")
    return [json.loads(line)["question"] for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", FROZEN)
def test_the_list_is_the_frozen_one(name: str) -> None:
    content = (split_dir() / f"{name}.bin").read_bytes()
    records = [content[start : start + RECORD] for start in range(0, len(content), RECORD)]
    assert records == sorted(records)
    assert (len(records), blake2b(content, digest_size=8).hexdigest()) == FROZEN[name]


def test_every_known_question_is_on_the_side_of_the_list_whatever_becomes_of_the_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    questions = train_file()

    def changed(*_: Any) -> Any:
        raise AssertionError("the split has asked")

    for module, name in (
        (skeleton, "words_of"),
        (skeleton, "skeleton"),
        (skeleton, "people"),
        (mentions, "find_numbers"),
    ):
        monkeypatch.setattr(module, name, changed)
    monkeypatch.setattr("mlx_trace.problems.split.wording_of", lambda question: "another rule")
    held_out = [number for number, question in enumerate(questions, start=1) if is_held_out(question)]
    assert len(held_out) == 764
    assert {2960, 3509, 6078} <= set(held_out)  # which had moved before this was frozen
    assert 1271 not in held_out
    assert blake2b(repr(held_out).encode(), digest_size=8).hexdigest() == "fd6e8e9b6f27a0c1"


def test_blanks_move_no_question() -> None:
    for question in train_file():
        assert is_held_out(" " + question.replace(" ", "\u00a0 ") + "\r\n") == is_held_out(question)


def test_a_known_wording_with_other_numbers_and_people_stays_where_it_is() -> None:
    questions = train_file()
    told = [question.translate(str.maketrans("123456789", "987654321")) + " " for question in questions]
    assert (
        sum(is_held_out(other) != is_held_out(question) for question, other in zip(questions, told, strict=True)) == 0
    )


def test_variants_have_the_wording_of_their_source() -> None:
    rows = [compile_row({"question": question, "answer": answer}, f"own:{number}")
            for number, (question, answer) in enumerate(ROWS)]  # fmt: skip
    problems = [row.problem for row in rows if isinstance(row, Compiled)]
    problems += generate_balanced(list(load_schemas().values()), 60, seed=4)
    told = [(problem, variant) for problem in problems for variant in variants(problem, 3)]
    assert len(told) > 100
    for problem, variant in told:
        assert wording_of(variant.question) == wording_of(problem.question)
        assert is_held_out(variant.question) == is_held_out(problem.question)


def test_the_rule_for_other_questions_is_frozen_too() -> None:
    wording = wording_of(
        "Nina's 12 cats ate an 8-ounce can, and twenty-five mice: $1,200.50 in all (3rd). How much is it?"
    )
    assert wording == "s cats ate ounce can and mice in all rd much is it"
    plain = [f"A shop of kind {'very ' * number}odd sells 30 mugs. What is that?" for number in range(60)]
    assert [number for number, question in enumerate(plain) if is_held_out(question)] == [0, 19, 23, 35, 45]
