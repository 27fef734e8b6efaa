"""Questions give up numbers in the spellings that people use, with the likelier reading first and the others beside it."""

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.language.mentions import find_numbers
from mlx_trace.language.number_words import FINER, ORDINALS, PARTS, TENS
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
        ("a coffee for €3,50, a cake for 4,20 € and 1,5 l of milk", "3.5 4.2 1.5|1|5"), ("$12,50", "12.5"),
        ("rows 1,2,3 km apart", "1 2 3"), ("She had 4 cats,5 dogs", "4 5"), ("1 500,75 zł and 1,5 million euros", "1500.75 1500000|1.5|1000000"),
        ("a rent of €1.250", "1250|1.25"), ("it weighs 1.250 kg", "1.25"), ("Rs.500 for No.5 on p.12", "500 5 12"), ("$.50 or .5", "0.5 0.5"),
        ("born on 12/25/2010", "12 25 2010"), ("a sum of 1/2 and 2/3rds", "0.5|1|2 2/3|2|3"),
        ("on her twenty-first birthday", "21|20|1"), ("a twenty-fifth of it", "0.04|25"), ("a twenty-second walk", "20"),
        ("three sixteenths of an inch", "0.1875|3|16"), ("one-thousandth", "0.001|1|1000"), ("the sixteenth and a fiftieth birthday", ""),
        ("2 thirds of 30", "2/3|2|3|1/3 30"), ("3 quarters and 2 dimes", "3 0.25|4 2"), ("1 fourth of it", "0.25|1|4"),
        ("Five third graders and three fourth graders", "5 3|1/3 3 4|0.25"), ("five third-graders", "5 3|1/3"),
        ("a dozen and a half eggs", "18|12|0.5"), ("two dozen and a half", "30|24|0.5|2|12"), ("a dozen and a half of a pie", "12 0.5|2"),
        ("2 million and a half", "2500000|2000000|0.5|2|1000000"), ("a baker's dozen", "13|12"), ("a quarter million", "250000|0.25|1000000"),
        ("an hour and a half", "0.5|2|1.5"), ("2 miles and a quarter", "2 0.25|4|2.25"), ("4 days and half of them", "4 0.5|2"),
        ("at half past six", "0.5|2|30 6"), ("a quarter to 9", "0.25|4|15 9"), ("gave a quarter to 20 kids", "0.25|4 20"),
        ("three point five", "3.5|3|5"), ("zero point two five", "0.25|0|2|5"), ("a three-point shot", "3"),
        ("Apartment 4B on bus 10K", "4 10"), ("B2B and a 4M view clip", "2 4000000|4"), ("$4B", "4000000000|4"), ("USD5M", "5000000|5"),
        ("minus 12 degrees", "-12|12"), ("a chilly minus twelve °C", "-12|12"), ("20 degrees minus 5 degrees", "20 5"), ("20°C minus 5°C", "20 5"),
        ("a trio and two quartets", "3 2 4"), ("$50\\%$ of 20", "50|0.5 20"),
        ("1e6 dollars and 1.5E3 cents", "1000000|1 1500|1.5"), ("10^6 m, 2**3 apples", "1000000|10 8|2"),
        ("3.2 × 10^5 cells in 4 x 10 dishes", "320000|3.2 4 10"), ("2e-1 kg", "0.2|2"), ("1e99 and 3e", "1 99 3"),
        ("１２ apples, ٣ pears and 1.５ kg", "12 3 1.5"),
    ],
)  # fmt: skip
def test_each_spelling_is_the_number_it_means(question: str, numbers: str) -> None:
    assert found(question) == numbers.split()


@given(st.integers(0, 999), st.integers(0, 99), st.sampled_from(("€{}", "€ {}", "${}", "{} €", "{}€", "{} euros")))
def test_a_comma_before_two_digits_of_money_parts_decimals(whole: int, cents: int, form: str) -> None:
    written = f"{whole},{cents:02}"
    assert found(f"It costs {form.format(written)} now.") == [spell(Fraction(100 * whole + cents, 100))]
    assert found(f"It costs {form.format('1.' + f'{whole:03}' + f',{cents:02}')}.") == [
        spell(Fraction(100 * (1000 + whole) + cents, 100))
    ]


@given(st.integers(1, 31), st.integers(1, 12), st.integers(1900, 2100))
def test_a_date_is_no_fraction(day: int, month: int, year: int) -> None:
    assert found(f"on {month}/{day}/{year} they met") == [str(month), str(day), str(year)]


@given(st.sampled_from(sorted(TENS)), st.sampled_from(sorted(ORDINALS)))
def test_a_compound_ordinal_says_which_and_is_no_part(tens: str, unit: str) -> None:
    (mention,) = find_numbers(f"It is the {tens}-{unit} day.")
    assert (mention.kind, mention.value) == ("ordinal", TENS[tens] + ORDINALS[unit])
    assert Fraction(TENS[tens]) in mention.readings


@given(st.integers(2, 99), st.sampled_from(sorted({**PARTS, **FINER}.items())))
def test_so_many_parts_are_a_fraction_in_words_and_in_digits(count: int, part: tuple[str, int]) -> None:
    word, below = part
    if word.endswith("s"):
        (words,) = find_numbers(f"She ate three {word} of it.")
        assert words.value == Fraction(3, below)
    if word.endswith("ths") or word == "thirds":
        (digits,) = find_numbers(f"She ate {count} {word} of it.")
        assert digits.value == Fraction(count, below)
        assert {count, below, Fraction(1, below)} <= set(digits.readings) | {digits.value}


@pytest.mark.parametrize(
    "piece",
    [
        " ",
        "1 ",
        "1, 000",
        "000 ",
        "½",
        "two ",
        "half of a ",
        "5 below",
        "minus ",
        "1.000,",
        "hundred and ",
        "a dozen and a half ",
        "1/2/",
        "1,5",
        "point five ",
        "twenty-",
    ],
)
def test_time_is_in_proportion_to_length(piece: str) -> None:
    started = time.perf_counter()
    find_numbers("- " + piece * (16_000 // len(piece)) + "5x!")
    assert time.perf_counter() - started < 8  # a quadratic one took minutes
