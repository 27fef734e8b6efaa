"""What the equations in a comment say: an operation and its operands, whatever words stand between."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.language.comments import PROSE
from mlx_trace.language.said import Way, said

WAYS: dict[str, tuple[Way, ...]] = {
    "Pia packs 48/2=24 boxes": (("div", (48, 2)),),
    "She earns $10/hour * 40 hours=$400": (("mul", (10, 40)),),
    "Left are 60 hours - 40 hours=20 hours": (("sub", (60, 40)),),
    "shells is 12+5+6=23": (("add", (12, 5, 6)),),
    "In 5 days it is 3*4=12": (("mul", (3, 4)),),
    "It costs $1,200-$200=$1,000 then": (("sub", (1200, 200)),),
    "He lacks 26-41=15 plates": (("sub", (41, 26)),),
    "warmth is 5+(-3)=2": (("add", (5, -3)),),
    "tip is 15% of 60=9": (("percent_of", (60, 15)),),
    "price is 80-20%=64": (("percent_off", (80, 20)),),
    "rent is 80+20%=96": (("percent_increase", (80, 20)),),
    "That is .20*40=8": (("mul", (Fraction(1, 5), 40)), ("percent_of", (40, 20))),
    "That is 40*20%=8": (("mul", (40, 20)), ("percent_of", (40, 20))),
    "That is (10/100)*200=20": (("mul", (Fraction(1, 10), 200)), ("percent_of", (200, 10))),
    "So 3/4*24=18 are red": (("mul", (Fraction(3, 4), 24)),),
    "So 24*3/4=18 are red": (("mul", (24, Fraction(3, 4))),),
    "So 8-3-1=4": (),
    "First 2*3=6, then 6+1=7": (),
}  # fmt: skip


@pytest.mark.parametrize("text", WAYS)
def test_an_equation_says_which_step_computes_it(text: str) -> None:
    heard = said(text)
    assert heard is not None and heard.ways == WAYS[text]


def test_what_several_steps_compute_says_its_numbers_and_operations() -> None:
    heard = said("So 8-3-1=4")
    assert heard is not None and heard.numbers == {8, 3, 1, 5, 4} and heard.ops == {"sub"} and heard.result == 4
    heard = said("First 2*3=6, then 6+1=7")
    assert heard is not None and heard.numbers >= {2, 3, 1} and heard.ops == {"mul", "add"} and heard.result == 7


@pytest.mark.parametrize("text", ["", "eggs left", "x = 3", "=", "the answer is 3 = three", "2 eggs 3 hens = 5", "7-"])
def test_what_is_no_equation_says_nothing(text: str) -> None:
    assert said(text) is None


@given(st.text(PROSE, max_size=100))
def test_any_comment_can_be_heard(text: str) -> None:
    heard = said(text)
    assert heard is None or all(len(operands) > 1 for _, operands in heard.ways)
