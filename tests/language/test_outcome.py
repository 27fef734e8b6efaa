"""What comes out of the arithmetic before an equals sign, where it can be read in one way."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.language.comments import PROSE
from mlx_trace.language.outcome import outcome, written

OUTCOMES = {
    "Tom leaves 16-3": "13",
    "In 5 days that is 13*5": "65",
    "First 16-3=13, then 13*2": "26",
    "It is ($4 + $2) * 3": "18",
    "2+3*4": "14",
    "20-5-3": "12",
    "They drive 60 miles/hour * 2 hours": "120",
    "Two-step: she pays $1,200-$200": "1000",
    "tip is 15% of 60": "9",
    "so 1/2 of the 30": "15",
    "price is 80-20%": "64",
    "rent is 80+20%": "96",
    "off is 80*20%": "16",
    "Left are 100%-30%": "70",
    "warmth is 5+(-3)": "2",
    "so 10/3": "3.3333",
    "so 1/8": "0.125",
    "twice $17 which is 2*$17": "34",
    "On days 4,5,6 and 7 he sold 3 cars, so 4*3": "12",
    "He has 200g + 100g": "300",
}


@pytest.mark.parametrize("text", OUTCOMES)
def test_arithmetic_comes_to(text: str) -> None:
    value = outcome(text)
    assert value is not None and written(value) == OUTCOMES[text]


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "eggs left are", "3 boxes", "-5", "2/0", "5*", "(2+3", "2(3)", "3 times 4+5", "half of 30-5",
        "3*m + 10", "x-5", "4+5 boxes of 6", "40%*100%", "10%+5", "7, ", f"{'1+' * 90}1",
        "1 1/2*60", "8 * 1 1/2", "17 000/5", "16,0000/10", "4x+12", "so 24V + 15", "1e3+1", "61 apples-16*2", "W/2-2",
    ],
)  # fmt: skip
def test_what_has_no_one_reading_comes_to_nothing(text: str) -> None:
    assert outcome(text) is None


@given(st.text(PROSE, max_size=160) | st.text("0123456789+-*/()%. $", max_size=160))
def test_any_text_can_be_read(text: str) -> None:
    value = outcome(text)
    assert value is None or (isinstance(value, Fraction) and written(value))
