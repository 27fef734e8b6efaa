"""Common knowledge is one list, and what a question's things bring along: a dime's cents, a spider's legs."""

from fractions import Fraction

import pytest

from mlx_trace.language.knowledge import (
    CONSTANTS,
    called_numbers,
    grounded_numbers,
    known_numbers,
    suggested_numbers,
)


@pytest.mark.parametrize(
    ("question", "brought"),
    [
        ("She has 3 quarters and 2 dimes.", "25 0.1"), ("How many cents are 7 nickels?", "0.05"),
        ("She has three quarters of it.", ""), ("How many legs do 3 spiders have?", "8"), ("3 spiders ate a fly.", ""),
        ("How many legs do 4 ants have?", "6"), ("A circle has a radius of 5.", "3.14 22/7"), ("How many sides have 2 hexagons?", "6"),
        ("A gross of pens costs $9.", "144"), ("Her gross pay is $9.", ""), ("Ann has 5 pens.", ""),
    ],
)  # fmt: skip
def test_things_bring_their_numbers_along(question: str, brought: str) -> None:
    assert known_numbers(question) - CONSTANTS == set(map(Fraction, brought.split()))


def test_what_is_brought_along_may_be_written_while_decoding_as_is_what_is_below_zero() -> None:
    assert "25" in grounded_numbers("How many cents are 3 quarters?")
    assert "25" not in grounded_numbers("A quarter of the pens are red.")
    assert {"-5", "5"} <= set(grounded_numbers("It was -5 degrees."))


@pytest.mark.parametrize(
    ("question", "called", "not_called"),
    [
        ("How many minutes are 2 hours?", "60", "3600 30 24"), ("It runs for 48 minutes.", "", "60 3600 30"),
        ("She works from 9 a.m. for 90 minutes.", "60", "3600"), ("He takes a pill every 6 hours, 3 days long.", "24", "12 7"),
        ("Joel is 17 years old.", "", "12 52 365 366"), ("She saves $5 a month. How much in 2 years?", "12", "52"),
        ("How much is that a week, at 14 a day?", "7", "14 5 30 365"), ("In two weeks?", "14 7", "4 52"),
        ("She runs 3 miles on 5 days.", "", "7 1760 5280 30"), ("How many feet are 4 yards?", "3", "36 5280"),
        ("A pipe of 3 feet, how many inches?", "12", "36"), ("He drinks 4 cups.", "", "2 16 8"),
        ("20% of 50 pens.", "100", "0.5"), ("A pound has how many ounces?", "16", "2000"),
        ("She has 5 more than Al.", "2", "3"), ("She has 5 more.", "", "2"), ("A meter and 5 cm.", "100", "1000"),
    ],
)  # fmt: skip
def test_words_call_for_a_number_in_pairs_where_one_alone_says_little(
    question: str, called: str, not_called: str
) -> None:
    numbers = called_numbers(question)
    assert set(map(Fraction, called.split())) <= numbers
    assert not set(map(Fraction, not_called.split())) & numbers


def test_a_step_of_a_solution_suggests_a_number_by_one_word_of_the_pair() -> None:
    assert {60, 24} <= suggested_numbers("hours") > called_numbers("hours")
    assert 1000 not in suggested_numbers("hours")
    assert suggested_numbers("pens") == called_numbers("pens") == frozenset()
