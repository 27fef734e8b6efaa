"""Problems are counted apart by what they are, and what is not known of one is left out."""

from dataclasses import dataclass

import pytest

from mlx_trace.cli.options import STRATA_KEY
from mlx_trace.evaluate.strata import STRATA, strata
from mlx_trace.problems.problem import Problem
from mlx_trace.problems.synthetic.generator import draw
from mlx_trace.problems.synthetic.schema import load_schemas


@dataclass(frozen=True)
class Of:
    problem: Problem


def asked(question: str, **known: str) -> Of:
    return Of(Problem(id="p", question=question, answer="1", **known))


def labels(by: str, *rows: Of) -> list[str]:
    return [name.strip() for name, _ in strata(by, rows)]


def test_the_command_line_offers_all_there_are() -> None:
    assert list(STRATA_KEY) == list(STRATA)


def test_steps_are_those_of_the_gold_trace_that_compute() -> None:
    drawn = [Of(draw(schema, 1, 0)) for schema in load_schemas().values()]
    counts = {name: len(own) for name, own in strata("steps", drawn)}
    assert list(counts) == ["1 step", "2 steps", "3 steps", "4 or more steps"]
    assert sum(counts.values()) == len(drawn) and min(counts.values()) > 5
    assert labels("steps", asked("How many?")) == []


@pytest.mark.parametrize(
    ("question", "label"),
    [
        ("He takes 20% of 2.5 liters.", "percent"),
        ("He takes 1/2 of 2.5 liters.", "fractions"),
        ("He takes 2.5 of three liters.", "decimals"),
        ("He takes twice 5 eggs.", "words"),
        ("He takes 4 of 5 eggs.", "integers"),
        ("He takes some eggs.", "none"),
    ],
)
def test_numbers_are_known_by_their_most_unusual_kind(question: str, label: str) -> None:
    assert labels("numbers", asked(question)) == [label]


def test_strata_have_an_order_of_their_own() -> None:
    rows = [asked(f"{'word ' * n}?") for n in (60, 30, 3, 40)]
    apart = strata("length", rows)
    assert [name.strip() for name, _ in apart] == ["0 to 25 words", "26 to 50 words", "51 or more words"]
    assert [len(own) for _, own in apart] == [1, 2, 1]


def test_a_source_is_a_family_or_a_kind_of_row() -> None:
    rows = [asked("How many?", source=source) for source in ("rate/speed#eval.3", "gsm8k/train:7", "")]
    assert labels("source", *rows) == ["gsm8k", "rate/speed"]
    assert labels("expert", asked("How many?", expert="percentage"), asked("How?")) == ["percentage"]
