"""Examples are similar problems, and never the question itself, its text with other numbers, or a copy of a part."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.errors import UserError
from mlx_trace.evaluate.nearest import Nearest, examples_for, read_nearest
from mlx_trace.model.prompts import Prompter
from mlx_trace.problems import gsm8k
from mlx_trace.problems.contamination import overlaps
from mlx_trace.problems.problem import Problem
from mlx_trace.problems.synthetic.generator import Options, generate_balanced
from mlx_trace.problems.synthetic.schema import load_schemas, select_schemas

TRACE = "expert: arithmetic\ntrace:\n- {op: init, var: a, value: 4}\n- {op: compute, compute_op: mul, args: [a, 3], var: b}\n- {op: query, var: b}"
EGGS = "A box holds 12 eggs. How many eggs do 3 boxes hold?"


def solved(question: str, name: str = "", trace: str | None = TRACE) -> Problem:
    return Problem(id=name or question, question=question, answer="12", trace=trace)


OTHERS = [
    solved("A crate holds 12 bottles. How many bottles do 3 crates hold?"),
    solved("Ben walks 4 miles a day. How far does he walk in 3 days?"),
    solved("A box of eggs costs $4. What do 3 boxes of eggs cost?"),
]


def test_the_most_similar_problem_comes_first() -> None:
    assert Nearest(OTHERS, "x").like(EGGS, 2) == [OTHERS[2], OTHERS[0]]
    assert Nearest(OTHERS, "x").like("5 % 7 = ?", 2) == [], "nothing is like what has no words"


def test_a_copy_is_no_example() -> None:
    long = "On a sunny Monday the old baker of our small town had baked 30 loaves before he opened his shop"
    copies = [solved(EGGS, "itself"), solved(EGGS.replace("12", "6").replace("3", "15"), "numbers"),
              solved(f"{long}, and sold 20. How many eggs were left?", "13 words")]  # fmt: skip
    nearest = Nearest([*copies, *OTHERS], "x")
    assert not {"itself", "numbers"} & {problem.id for problem in nearest.like(EGGS, 9)}
    assert "13 words" in {problem.id for problem in nearest.like(EGGS, 9)}
    assert "13 words" not in {problem.id for problem in nearest.like(f"{long}. How many more eggs?", 9)}


@pytest.fixture(scope="module")
def families() -> tuple[Nearest, list[Problem]]:
    schemas = select_schemas(["arithmetic"], load_schemas())
    return Nearest(generate_balanced(schemas, 300, 5, Options("train")), "x"), generate_balanced(schemas, 60, 6, Options("train"))  # fmt: skip


@given(number=st.integers(0, 59), k=st.integers(1, 8))
def test_nothing_that_contamination_finds_is_an_example(
    families: tuple[Nearest, list[Problem]], number: int, k: int
) -> None:
    nearest, asked = families
    found = nearest.like(asked[number].question, k)
    (overlap,) = overlaps({"asked": [asked[number]]}, found)
    assert (overlap.same_question, overlap.same_template, overlap.shared_gram) == (0, 0, 0)
    assert len(found) == k, "there are enough others"


def test_examples_stand_before_the_question_the_most_similar_last(prompter: Prompter) -> None:
    nearest = Nearest(OTHERS, "x")
    shown = examples_for(nearest, 2, EGGS, prompter, None)
    assert shown.names == (OTHERS[0].id, OTHERS[2].id) and not shown.has_no_room
    assert [pair.reply for pair in shown.exchanges] == [TRACE, TRACE]
    assert shown.prompt_tokens == len(prompter.ids(EGGS, shown.exchanges))
    fewer = examples_for(nearest, 2, EGGS, prompter, shown.prompt_tokens - 1)
    assert fewer.names == (OTHERS[2].id,) and fewer.has_no_room, "the least similar is left out"
    assert fewer.prompt_tokens < shown.prompt_tokens
    assert examples_for(nearest, 2, EGGS, prompter, 1).names == ()


def test_worked_solutions_are_compiled(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    row = {"question": "Ann has 4 bags with 3 apples each. How many apples has she?",
           "answer": "She has 4*3=<<4*3=12>>12 apples.\n#### 12"}  # fmt: skip
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    (example,) = read_nearest(path).like("Ann has 5 crates with 6 pears each. How many apples and pears?", 3)
    assert "mul" in str(example.trace)


def test_problems_without_traces_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"question": "How many are 3 and 4?", "answer": "7"}\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"answers\.jsonl: none of its problems has a trace"):
        read_nearest(path)


def test_held_out_problems_are_no_examples(tmp_path: Path) -> None:
    path = tmp_path / "both.jsonl"
    made = [Problem(id=str(n), question=f"{word} holds 4 and gets 3 times as many?", answer="12", trace=TRACE, source="gsm8k/x")
            for n, word in enumerate("a box here, a crate there, the shelf above, one bag below, her desk, his drawer, our car, "
                                     "their boat, my shed, your hall, old barn, new mill".split(", "))]  # fmt: skip
    held_out = {problem.id for problem in made if gsm8k.is_held_out(problem)}
    assert 0 < len(held_out) < len(made)
    path.write_text("".join(problem.model_dump_json() + "\n" for problem in made), encoding="utf-8")
    assert {solved.problem.id for solved in read_nearest(path).solved} == {problem.id for problem in made} - held_out
    path.write_text(
        "".join(problem.model_dump_json() + "\n" for problem in made if problem.id in held_out), encoding="utf-8"
    )
    with pytest.raises(UserError, match=f"that may be learnt from .{len(held_out)} held out for evaluation."):
        read_nearest(path)
