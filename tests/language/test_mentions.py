"""Questions give up numbers in the spellings that people use, with the likelier reading first and the others beside it."""

import time

import pytest

from mlx_trace.language.mentions import find_numbers
from mlx_trace.language.numbers import spell


def found(question: str) -> list[str]:
    """Each number as `value`, or `value|other readings`."""
    return ["|".join(map(spell, mention.readings)) for mention in find_numbers(question)]


@pytest.mark.parametrize(
    ("question", "numbers"),
    [
        ("It cost $400 000.", "400000"), ("About 450 000 people", "450000"), ("5 650 000 cars", "5650000"),
        ("has 1,00,000 rupees", "100000"), ("6, 760 people came", "6760|6|760"), ("for $6, 760 people", "6760|6|760"),
        ("scores of 6, 760, and 12", "6 760 12"), ("on day 6, 760 people came", "6 760"), ("2 132 contracts", "2|2132 132"),
        ("12 500 ml bottles", "12|12500 500"), ("$3 200", "3200"), ("1'000 and 1\u202f000", "1000 1000"),
        ("a house for $280k", "280000|280"), ("a 10K race", "10000|10"), ("$2.5M or $12m", "2500000|2.5 12000000|12"),
        ("12m of rope, 25 M&M candies", "12 25"), ("$5 M", "5000000|5"), ("5 lakh", "500000|5"),
        ("two and half dozen", "30|2.5|12|2|0.5"), ("two and one-half dozens", "30|2.5|12|2|0.5"), ("3 dozens", "36|3|12"),
        ("2 and half hours", "2.5|2|0.5"), ("20 and half of them", "20 0.5|2"), ("20 and half as many", "20 0.5|2"),
        ("2 and 1/2 cups", "2.5|2|0.5"), ("ate 2 and 1/2 of the rest", "2 0.5|1|2"), ("3 and three quarters", "3.75|3|0.75"),
        ("a couple of dozen", "24|2|12"), ("a couple of friends", "2"), ("half a million", "500000|0.5|1000000"),
        ("a quarter of a million", "250000|0.25|1000000"), ("a half-million", "500000|0.5|1000000"), ("the third dozen", "1/3|3 12"),
        ("twenty–five and twenty‑five", "25 25"), ("children 6–11", "6 11"), ("twenty - five", "20 5"), ("one—two", "1 2"),
        ("octuplets, sextuplets, a quintuplet", "8 6 5"), ("tenfold, sevenfold, sextupled", "10 7 6"),
        ("a temperature of -5 degrees", "-5|5"), ("it was −10", "-10|10"), ("-$5 and $-6 and (-7)", "-5|5 -6|6 -7|7"),
        ("minus 5 degrees", "-5|5"), ("5 degrees below zero", "-5|5 0"), ("5 meters below sea level", "-5|5"),
        ("5 -3 and 5 - 3", "5 3 5 3"), ("ten minus 5", "10 5"), ("her age minus 4", "4"), ("pages 6-11", "6 11"),
        ("20 pct", "20|0.2"), ("a 5-year-old", "5"), ("1 1/2-inch", "1.5|1|0.5"), ("5'10", "5 10"),
    ],
)  # fmt: skip
def test_each_spelling_is_the_number_it_means(question: str, numbers: str) -> None:
    assert found(question) == numbers.split()


@pytest.mark.parametrize(
    "piece", [" ", "1 ", "1, 000", "000 ", "½", "two ", "half of a ", "5 below", "minus ", "1.000,", "hundred and "]
)
def test_time_is_in_proportion_to_length(piece: str) -> None:
    started = time.perf_counter()
    find_numbers("- " + piece * (16_000 // len(piece)) + "5x!")
    assert time.perf_counter() - started < 8  # a quadratic one took minutes
