"""Numerals are exact and strict, answers spell them back, and questions give up the numbers they state."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.language.amounts import read_amount
from mlx_trace.language.mentions import find_numbers
from mlx_trace.language.numbers import LIMIT, read_numeral, spell

RATIONALS = st.fractions(max_denominator=10**6).filter(lambda number: abs(number.numerator) <= LIMIT)


@given(RATIONALS)
def test_spelling_reads_back_exactly(number: Fraction) -> None:
    assert read_numeral(spell(number)) == number


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Fraction(26), "26"), (Fraction(-5), "-5"), (Fraction(1, 2), "0.5"), (Fraction(-1, 8), "-0.125"),
        (Fraction(1, 3), "1/3"), (Fraction(-7, 6), "-7/6"), (Fraction(1, 4096), "0.000244140625"),
        (Fraction(1, 8192), "1/8192"), (Fraction(10**30), "1" + "0" * 30), (Fraction(5, 100), "0.05"),
    ],
)  # fmt: skip
def test_answers_are_integers_then_decimals_of_twelve_places_then_fractions(number: Fraction, text: str) -> None:
    assert spell(number) == text


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("16", 16), ("-3", -3), ("+5", 5), ("0.10", Fraction(1, 10)), ("007", 7), ("1/2", Fraction(1, 2)),
        ("-4/6", Fraction(-2, 3)), (".5", Fraction(1, 2)), ("0/3", 0), ("1" + "0" * 40 + "/1" + "0" * 39, 10),
    ],
)  # fmt: skip
def test_numerals_are_read_as_written(text: str, number: Fraction) -> None:
    assert read_numeral(text) == number


@pytest.mark.parametrize(
    "text",
    ["", "1_000", "0x10", "1e3", ".inf", ".nan", "80,000", "1:30", "5.", ".", "1/0", "1/-2", "0.5/2", "$5", "20%", " 5",
     "5 ", "--5", "٣", "²", "five", "1/2/3", "5\n"],
)  # fmt: skip
def test_nothing_else_is_a_number(text: str) -> None:
    assert read_numeral(text) is None


@pytest.mark.parametrize("text", ["9" * 5000, "0." + "0" * 5000 + "1", "1/" + "9" * 5000, "-" + "7" * 500])
def test_endless_digits_are_read_as_something_beyond_the_limit(text: str) -> None:
    number = read_numeral(text)
    assert number is not None
    assert abs(number.numerator) > LIMIT or number.denominator > LIMIT


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("80,000", 80000), ("$1,234.50", Fraction("1234.5")), ("-$5", -5), ("$-5", -5), ("5 apples", 5), ("12.", 12),
        ("50%", 50), ("2/3", Fraction(2, 3)), (" 70000 ", 70000), ("3.5 hours", Fraction("3.5")), ("€7", 7),
        ("10 km/h", 10), ("−4", -4), ("1,000,000", 10**6), (".75", Fraction(3, 4)), ("12 sq. ft.", 12),
    ],
)  # fmt: skip
def test_golds_are_read_whole(text: str, number: Fraction) -> None:
    assert read_amount(text) == number


@pytest.mark.parametrize("text", ["", "abc", "1,23", "5 6", "1/0", "$", "x5", "1,2345", "5 apples and 6 pears"])
def test_what_is_not_one_amount_is_refused(text: str) -> None:
    assert read_amount(text) is None


def found(question: str) -> list[tuple[str, Fraction]]:
    return [(question[mention.start : mention.end], mention.value) for mention in find_numbers(question)]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("He has 80,000 dollars and $7.50.", [("80,000", 80000), ("7.50", Fraction("7.5"))]),
        ("twenty-five of 2 1/2 and 2½ and ½", [("twenty-five", 25), ("2 1/2", Fraction(5, 2)), ("2½", Fraction(5, 2)),
                                               ("½", Fraction(1, 2))]),
        ("20% off, twenty percent", [("20%", 20), ("twenty percent", 20)]),
        ("two hundred and five, a dozen, 2 dozen, half a dozen", [("two hundred and five", 205), ("dozen", 12),
                                                                  ("2 dozen", 24), ("half a dozen", 6)]),
        ("two-thirds of a third, one and a half", [("two-thirds", Fraction(2, 3)), ("a third", Fraction(1, 3)),
                                                   ("one and a half", Fraction(3, 2))]),
        ("twice as many, tripled, half", [("twice", 2), ("tripled", 3), ("half", Fraction(1, 2))]),
        ("2.5 million in 3 thousand", [("2.5 million", 2_500_000), ("3 thousand", 3000)]),
        ("at 2:30 in the 1990s, 10-year-old", [("2", 2), ("30", 30), ("1990", 1990), ("10", 10)]),
        ("seven and eight, one or two three", [("seven", 7), ("eight", 8), ("one", 1), ("two", 2), ("three", 3)]),
        ("one hundred and a cat", [("one hundred", 100)]),
        ("3,4 and 1/0", [("3", 3), ("4", 4), ("1/0", 1)]),
        ("someone alone often weighs a tone", []),
    ],
)  # fmt: skip
def test_questions_give_up_their_numbers(question: str, expected: list[tuple[str, Fraction]]) -> None:
    assert found(question) == [(text, Fraction(value)) for text, value in expected]


def test_other_readings_are_kept() -> None:
    readings = {mention.value: set(mention.also) for mention in find_numbers("20% of half, 2 dozen")}
    assert readings == {20: {Fraction(1, 5)}, Fraction(1, 2): {2}, 24: {2, 12}}


@given(st.text())
def test_spans_lie_in_the_question_in_order_and_apart(question: str) -> None:
    end = 0
    for mention in find_numbers(question):
        assert end <= mention.start < mention.end <= len(question)
        end = mention.end


@given(st.integers(1, 9999))
def test_digits_are_found_with_and_without_commas(number: int) -> None:
    assert found(f"It has {number:,} of them.") == [(f"{number:,}", number)]
