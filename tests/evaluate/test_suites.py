"""A sample of a file is random, by its seed alone, in the file's order; a larger one holds the smaller ones."""

import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.evaluate.suites import draw, suite
from mlx_trace.language.grade import grade

SIZE = 40


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sets") / "rows.jsonl"
    path.write_text("".join(json.dumps({"question": f"{n} and 1?", "answer": str(n + 1)}) + "\n" for n in range(SIZE)),
                    encoding="utf-8")  # fmt: skip
    return path


@given(n=st.integers(1, SIZE - 1), seed=st.integers(0, 2**32))
def test_a_sample_is_the_same_at_every_call_and_keeps_the_order(rows: Path, n: int, seed: int) -> None:
    whole, drawn = draw(str(rows)), draw(str(rows), n, seed=seed)
    assert draw(str(rows), n, seed=seed) == drawn
    assert drawn.problems == [problem for problem in whole.problems if problem in drawn.problems]
    assert len(drawn.problems) == n
    assert set(drawn.problems) < set(draw(str(rows), n + 1, seed=seed).problems)
    assert drawn.as_json() == {"n": n, "of": SIZE, "seed": seed}
    assert drawn.digest == whole.digest, "a sample is a look at the whole"


def test_seeds_draw_all_problems_alike(rows: Path) -> None:
    often = [problem.id for seed in range(300) for problem in suite(str(rows), 10, seed=seed)]
    counts = [often.count(f"rows:{number}") for number in range(1, SIZE + 1)]
    assert min(counts) >= 40 and max(counts) <= 115, "75 are expected, and the first ten are no more likely"


def test_a_whole_file_is_no_sample(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert draw(str(rows), SIZE, seed=3).as_json() == {}
    assert "asked for" not in capsys.readouterr().err
    assert len(draw(str(rows), 900).problems) == SIZE
    assert f"holds {SIZE} problems, and 900 were asked for: all are taken" in capsys.readouterr().err


def test_frozen_sets_are_sampled_and_generated_ones_are_not() -> None:
    assert draw("everyday", 7, seed=1).as_json() == {"n": 7, "of": 30, "seed": 1}
    assert draw("everyday", 7, seed=1).problems != draw("everyday", 7, seed=2).problems
    assert draw("phrasing", 7, seed=1) == draw("phrasing", 7, seed=2)


def test_a_worked_row_is_measured_beside_the_trace_it_compiles_to(tmp_path: Path) -> None:
    question = "A box holds 6 pens. Ann fills 4 boxes and has 3 pens over. How many pens has she?"
    told = {
        "worked": {"question": question, "answer": "She fills 6*4=<<6*4=24>>24. She has 24+3=<<24+3=27>>27.\n#### 27"},
        "equation": {"question": question, "equation": "6*4+3", "answer": 27},
        "ungrounded": {"question": question, "equation": "41.5-14.5", "answer": 27},
        "bare": {"question": question, "answer": 27},
    }
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({**row, "id": name}) + "\n" for name, row in told.items()), encoding="utf-8")
    traces = {name: problem.trace for name, problem in zip(told, draw(str(path)).problems, strict=True)}
    for name in ("worked", "equation"):
        outcome = grade(traces[name] or "", Fraction(27))
        assert outcome.kind == "correct", name
    assert traces["ungrounded"] is None
    assert traces["bare"] is None
    assert [problem.answer for problem in draw(str(path)).problems] == ["27"] * 4
