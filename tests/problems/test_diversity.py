"""Diversity counts what it says it counts, and an equal sample of twice the same is no more varied."""

from pathlib import Path

import pytest

from mlx_trace.errors import UserError
from mlx_trace.language.syntax import NoTrace, parse_document
from mlx_trace.problems.diversity import entropy, measure, read_kinds
from mlx_trace.problems.skeleton import shape, skeleton, words_of
from mlx_trace.problems.synthetic.generator import generate_balanced
from mlx_trace.problems.synthetic.schema import load_schemas
from tests.problems.rows import ROWS, write_rows


def test_entropy_is_that_of_the_textbook() -> None:
    assert entropy({}) == 0
    assert entropy({"a": 7}) == 0
    assert entropy({"a": 5, "b": 5}) == 1
    assert entropy(dict.fromkeys(range(8), 3)) == 3


def test_skeletons_mask_numbers_people_and_articles_before_them() -> None:
    assert words_of("Nina's 3 cats ate an 8-ounce can.") == words_of("Omar's twelve cats ate a 9-ounce can.")
    assert skeleton("Nina has 3 cats.") != skeleton("Nina had 3 cats.")


def test_the_shape_is_the_computation_alone() -> None:
    def of(*steps: str, expert: str = "arithmetic") -> str:
        trace = parse_document("\n".join([f"expert: {expert}", "trace:", *(f"- {{op: {step}}}" for step in steps)]))
        assert not isinstance(trace, NoTrace)
        return shape(trace)

    one = of("init, var: a, value: 3", "init, var: b, value: 4", "compute, compute_op: mul, args: [a, b], var: step1",
             "compute, compute_op: sub, args: [step1, a], var: result", "query, var: result")  # fmt: skip
    other = of("init, var: x, value: 9", "init, var: y, value: 8", "compute, compute_op: mul, args: [y, x], var: z",
               "compute, compute_op: sub, args: [z, y], var: q", "query, var: q")  # fmt: skip
    assert one == other == "mul(n,n) sub(0,n)"
    assert of("init, var: a, value: 9", "consume, entity: a, amount: 2", "transfer, from: a, to: b, amount: 1",
              "query, var: a", expert="entity_track") == "sub(n,n) sub(0,n) add(n,n)"  # fmt: skip


def test_sums_of_sums_are_one_shape_however_they_are_written() -> None:
    start = ["init, var: a, value: 3", "init, var: b, value: 4", "init, var: c, value: 5"]
    shapes = set()
    for steps in (["compute, compute_op: add, args: [a, b, c], var: r"],
                  ["compute, compute_op: add, args: [a, b], var: s", "compute, compute_op: add, args: [s, c], var: r"],
                  ["compute, compute_op: add, args: [b, c], var: s", "compute, compute_op: add, args: [a, s], var: r"]):  # fmt: skip
        trace = parse_document("\n".join(["expert: arithmetic", "trace:",
                                          *(f"- {{op: {step}}}" for step in [*start, *steps, "query, var: r"])]))  # fmt: skip
        assert not isinstance(trace, NoTrace)
        shapes.add(shape(trace))
    assert shapes == {"add(n,n,n)"}


def test_measures_count_wordings_words_shapes_and_experts() -> None:
    problems = generate_balanced(list(load_schemas().values()), 120, seed=1)
    once, twice = measure(problems), measure(problems * 2)
    assert (once.problems, twice.problems) == (120, 240)
    assert once.skeletons == twice.skeletons <= 120
    assert once.unigram_entropy == pytest.approx(twice.unigram_entropy)
    assert once.shapes == twice.shapes
    assert sum(once.experts.values()) == pytest.approx(1)
    assert 0 < once.numbers_as_words < 1


def test_a_file_of_worked_solutions_is_also_shown_compiled(tmp_path: Path) -> None:
    kinds = read_kinds(write_rows(tmp_path / "rows.jsonl", "{broken"))
    assert {name: len(problems) for name, problems in kinds.items()} == {"rows.jsonl": len(ROWS), "compiled": len(ROWS)}
    told, compiled = measure(kinds["rows.jsonl"]), measure(kinds["compiled"])
    assert (told.shapes, told.operations) == (None, None)
    assert compiled.traces == len(ROWS)
    (tmp_path / "none.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(UserError, match="holds no problems"):
        read_kinds(tmp_path / "none.jsonl")
