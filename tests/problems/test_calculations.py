"""What a solution computes is read as it stands, and put right where it is wrong, with whatever rests on it."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.problems.calculations import cleaned, corrected


@pytest.mark.parametrize(
    ("said", "right", "outcome"),
    [
        ("She has 87 - 8 = 89 left.", "She has 87-8=79 left.", 79),
        ("Cost: 13 × 9 = $117.\nWith 3 more 117 + 3 = 120.", "Cost: 13*9=$117.\nWith 3 more 117+3=120.", 120),
        ("8 * 12 = 95 books.\nFive times 95 is 5 * 95 = 475.", "8*12=96 books.\nFive times 96 is 5*96=480.", 480),
        ("They share 10 / 4 = 3, so 3 each.", "They share 10/4=2.5, so 2.5 each.", Fraction(5, 2)),
        ("A third: 10 / 3 = 3.33 each.", "A third: 10/3=3.33 each.", Fraction(10, 3)),  # rounded is not wrong
        ("1,200 + 34 = 1,434 in all, 1,434.5 no", "1,200+34=1234 in all, 1,434.5 no", 1234),
        ("It is 20% of 80 = 15.", "It is 20% of 80=16.", 16),
        ("Nothing is computed here.", "Nothing is computed here.", None),
        ("x = 5", "x=5", None),
    ],
)
def test_wrong_results_are_put_right_where_they_stand_and_where_they_are_used(
    said: str, right: str, outcome: Fraction | None
) -> None:
    solution = corrected(said)
    assert solution.text == right
    assert solution.outcome == outcome


def test_mistakes_are_counted_and_annotations_left_out() -> None:
    assert corrected("4 + 4 = <<4+4=8>>8\n8 + 1 = 10\n10 + 1 = 11").mistakes == 2  # the third rests on the second
    assert corrected("4 + 4 = <<4+4=8>>8\n8 + 1 = 10\n10 + 1 = 11").text == "4+4=8\n8+1=9\n9+1=10"


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.sampled_from("+-*"), st.integers(-50, 50))
def test_one_calculation_comes_to_what_it_is_whatever_was_written(a: int, b: int, sign: str, off: int) -> None:
    value = {"+": a + b, "-": a - b, "*": a * b}[sign]
    solution = corrected(f"So there are {a} {sign} {b} = {value + off} of them.")
    assert solution.outcome == value
    assert solution.mistakes == (off != 0)
    assert solution.text == f"So there are {a}{sign}{b}={value} of them."


@given(st.text(st.characters(exclude_characters="="), max_size=200))
def test_text_without_calculations_stays_as_it_is_cleaned(text: str) -> None:
    lines = [line for line in map(cleaned, text.splitlines()) if line]
    assert corrected(text) == ("\n".join(lines), None, 0)
