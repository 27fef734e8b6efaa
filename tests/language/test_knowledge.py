"""Common knowledge is one list, and what a question's things bring along: a dime's cents, a spider's legs."""

from fractions import Fraction

import pytest

from mlx_trace.language.knowledge import CONSTANTS, grounded_numbers, known_numbers


@pytest.mark.parametrize(
    ("question", "brought"),
    [
        ("She has 3 quarters and 2 dimes.", "25 0.1"), ("How many cents are 7 nickels?", "0.05"),
        ("She has three quarters of it.", ""), ("How many legs do 3 spiders have?", "8"), ("3 spiders ate a fly.", ""),
        ("How many legs do 4 ants have?", "6"), ("A circle has a radius of 5.", "3.14 22/7"), ("How many sides have 2 hexagons?", "6"),
        ("Ann has 5 pens.", ""),
    ],
)  # fmt: skip
def test_things_bring_their_numbers_along(question: str, brought: str) -> None:
    assert known_numbers(question) - CONSTANTS == set(map(Fraction, brought.split()))


def test_what_is_brought_along_may_be_written_while_decoding_as_is_what_is_below_zero() -> None:
    assert "25" in grounded_numbers("How many cents are 3 quarters?")
    assert "25" not in grounded_numbers("A quarter of the pens are red.")
    assert {"-5", "5"} <= set(grounded_numbers("It was -5 degrees."))
