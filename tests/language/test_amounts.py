"""Golds are read as people write them; what may mean two things, or holds two numbers, is left out rather than guessed."""

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.language.amounts import MOST_CHARACTERS, counts_in, other_unit, read_amount
from mlx_trace.language.numbers import fits, spell

HALF = Fraction(1, 2)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2.5 million", 2_500_000), ("$2.5K", 2500), ("20 thousand", 20_000), ("12 dozen", 144), ("3 million", 3_000_000),
        ("1.2 billion", 1_200_000_000), ("15 trillion", 15 * 10**12), ("5k", 5000), ("100k miles", 100_000), ("$2.5M", 2_500_000),
        ("$5 M", 5_000_000), ("$3m", 3_000_000), ("2.5 mn", 2_500_000), ("5bn", 5 * 10**9), ("12 hundred", 1200), ("5 hundred thousand", 500_000),
        ("5 lakh", 500_000), ("2 crore", 20_000_000), ("1.5 dozen eggs", 18), ("12 thousands", 12_000), ("two dozen", 24),
        ("half a million", 500_000), ("half a dozen", 6), ("a quarter of a million", 250_000), ("$5 million dollars", 5_000_000),
        ("2 1/2", 2 + HALF), ("2½", 2 + HALF), ("2 ½ hours", 2 + HALF), ("½ hour", HALF), ("2⁄3", Fraction(2, 3)), ("1 1/2 hours", 1 + HALF),
        ("2 and 1/2", 2 + HALF), ("6 and a half", 6 + HALF), ("two and a half", 2 + HALF), ("a million and a half", 1_500_000),
        ("two thirds", Fraction(2, 3)), ("1/3 of the cake", Fraction(1, 3)), ("three quarters of an hour", Fraction(3, 4)),
        ("7 (apples)", 7), ("7 apples (each)", 7), ("7 (seven)", 7), ("9 (square feet).", 9), ("five", 5), ("twenty–five", 25),
        ("400 000", 400_000), ("$400 000", 400_000), ("400\u202f000", 400_000), ("1\u2009234", 1234), ("1\u00a0234\u00a0567", 1_234_567),
        ("1,00,000", 100_000), ("12,34,567", 1_234_567), ("1'000", 1000), ("1.000,50", 1000 + HALF), ("1.000.000", 10**6), ("$6, 760", 6760),
        ("–5", -5), ("−5", -5), ("-$5", -5), ("$-5", -5), ("- 5", -5), ("minus 5", -5), ("negative five", -5), ("+$5", 5), ("-2 1/2", -2 - HALF),
        ("20 percent", 20), ("20 per cent", 20), ("0.5%", HALF), ("10 pct", 10), ("Rs. 5", 5), ("USD 5", 5), ("5 USD", 5), ("75¢", 75), ("₹1,00,000", 100_000),
        ("$2.50/lb", 2 + HALF), ("US $7", 7), ("12 trios", 12), ("€3,50", 3 + HALF), ("3,50 €", 3 + HALF), ("three sixteenths", Fraction(3, 16)), ("a quarter million", 250_000),
        ("three point five", 3 + HALF), ("1.125", 1 + Fraction(1, 8)), ("24/7", Fraction(24, 7)), ("5 pairs", 5), ("12 m", 12), ("3 t", 3), ("3rd", 3), ("x = 5", 5), ("5°C", 5), ("5 m²", 5), ("= 5", 5), ("0", 0), ("1" + "0" * 30, 10**30), ("10^6", 10**6), ("1e6", 10**6), ("3.2 × 10^5 cells", 320_000), ("１２ apples", 12),
    ],
)  # fmt: skip
def test_a_gold_is_the_number_that_it_states(text: str, number: Fraction) -> None:
    assert read_amount(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "5 M", "12M", "12 B", "5 K", "3 b", "10 mil", "10 bil", "7 grand", "36pi", "36 pi cm", "5i", "3 scores", "5 gross",  # millions or meters?
        "3 quarters", "three quarters", "a quarter", "3 halves", "2 thirds", "2-1/2",  # coins or parts?
        "1 234", "2 500 apples", "3 200 m races", "6, 760", "5, 6", "3,5", "10 00", "1,2345",  # one number or two?
        "5-10", "5–10", "20 -25", "5 to 6", "5 or 6", "5 or more", "5:30", "3:2", "2 million and 5", "1 hour 30 minutes",
        "6 hours and thirty minutes", "5 apples and six pears", "5 ft 3 in", "5 apples and 6 pears", "7; 8",
        "$12,00", "$3,50", "$12MM", "12 tens", "12 mill", "12 doz", "1O", "12 CR", "1.200", "1.500 kg", "$24.000", "€1.234", "1.234 €", "12,50 km", "5 squared", "5 cubed", "5 thousandths", "3 elevenths", "twenty-fifth",
        "5 (negative)", "7 negative", "5 degrees below", "0.3 repeating", "3.3 (recurring)", "1.5 k", "2 cr", "half past six", "5'10\"", "1/2/2020",
        "a couple", "a couple of dozen", "dozens", "third", "twice", "a pair",  # how many?
        "5 (in thousands)", "2.5 (million)", "12 (dozen)", "7 (eight)", "5 in thousands",
        "(5)", "($5)", "—5", "-5 #### -5", "about 5", "2x", "5!", "10^", "1e", "1e400", "5 * 2", "5+3", "1/0", "5/0", "..5", "5.5.5",
        "Infinity", "NaN", "None", "true", "(A) 5", "", "$", "9" * 31, "9" * 5000, "1/" + "9" * 40, "5 " + "x" * MOST_CHARACTERS,
    ],
)  # fmt: skip
def test_what_is_not_sure_to_be_one_number_is_none(text: str) -> None:
    assert read_amount(text) is None


@pytest.mark.parametrize(
    ("answer", "question", "unit"),
    [
        ("12 dozen", "How many dozen eggs has Ann?", "dozen"), ("12 dozens", "How many dozens are there?", "dozen"),
        ("12 dozen", "How many eggs has Ann?", ""), ("$2k", "How much, in thousands of dollars, does she pay?", "thousand"),
        ("2.5 million", "How many millions does it cost?", "million"), ("12", "How many dozen eggs has Ann?", ""),
    ],
)  # fmt: skip
def test_an_answer_in_the_unit_that_is_asked_for_is_known_to_be_unsure(answer: str, question: str, unit: str) -> None:
    assert counts_in(answer, question) == unit


@pytest.mark.parametrize(
    ("answer", "question", "units"),
    [
        ("90 minutes", "How many hours is that?", ("minutes", "hours")), ("120 (min.)", "How many hours?", ("minutes", "hours")),
        ("$0.50", "How many cents is one?", ("dollars", "cents")), ("50¢", "What is it, in dollars?", ("cents", "dollars")),
        ("36 inches", "How many more feet?", ("inches", "feet")), ("2 weeks", "How many days?", ("weeks", "days")),
        ("1.5 hours", "How many hours?", None), ("8 hours a day", "How many hours a day is it, and how many minutes?", None), ("5", "How many feet?", None),
        ("5 in all", "How many feet in all?", None), ("$5 an hour", "How many dollars an hour?", None), ("5 pounds", "How many hours?", None),
    ],
)  # fmt: skip
def test_an_answer_in_another_unit_than_is_asked_for_is_known(
    answer: str, question: str, units: tuple[str, str] | None
) -> None:
    assert other_unit(answer, question) == units


@given(st.text(max_size=120))
def test_any_text_is_a_number_that_a_trace_may_hold_or_none(text: str) -> None:
    number = read_amount(text)
    assert number is None or fits(number)


@given(st.builds(Fraction, st.integers(-(10**9), 10**9), st.sampled_from((1, 2, 4, 5, 8, 10))), st.sampled_from(
    ("{}", "${}", "{} apples", "{} dollars.", "{} (apples)", "{}%")))  # fmt: skip
def test_a_number_with_what_stands_around_it_is_that_number(number: Fraction, form: str) -> None:
    assert read_amount(form.format(spell(number))) == number


@pytest.mark.parametrize(
    "text", ["- " + " " * 16_000 + "x", "5" + " " * 16_000 + "!", "5 " + "a " * 8000 + "!", "1," * 8000]
)
def test_a_long_text_takes_no_time(text: str) -> None:
    started = time.perf_counter()
    assert read_amount(text) is None
    assert time.perf_counter() - started < 0.5
