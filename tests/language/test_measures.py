"""What numbers are measured in is known where the words beside all their mentions say so; and so it is of an answer."""

import time
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.language.measures import (
    ANY,
    NUMBER,
    Measures,
    asked,
    counts_per_money,
    measures,
    product,
    quotient,
    total,
)

SETS = [frozenset(chosen) for size in range(1, 6) for chosen in combinations(sorted(ANY), size)]


def known(question: str) -> dict[str, Measures]:
    return {number: found for number, found in measures(question).items() if found != ANY}


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("A pen costs $3 and a book 4 dollars.", {"3": "money", "4": "money"}),
        ("A cup is 4€, a jug 7 €, a mug USD 5, a pot ₩9.", dict.fromkeys("4759", "money")),
        ("She has 5 $3 tickets.", {"3": "money"}),
        ("He works 8 hours a day for 9 weeks.", {"8": "time", "9": "time"}),
        ("Of 60 children 25% swim.", {"25": "percent", "0.25": "percent"}),
        ("Tom has 13 bracelets and drives 40 miles.", {"13": "things", "40": "things"}),
        ("Half a dozen eggs and 2.5 million dollars.", {"6": "things", "0.5": "things", "2500000": "money",
                                                         "2.5": "money", "1000000": "money"}),
        ("She has 7 apples, and 7 of them are red.", {}),  # not all mentions say
        ("He is 9 years old, and she was born 5 years ago.", {}),
        ("She has 3 times as many, less 4.", {}),
        ("There are 60 pens. He writes for 5 minutes of an hour.", {"5": "time"}),  # 60 is common knowledge, too
        ("He has 3 quarters and 8 pounds of rice.", {"3": "money things", "8": "money things"}),
        ("She teaches 5 hour-long classes and 6 week-long ones, on 4 nights.", {"4": "time things"}),
        ("He reads a page every minute, for 9 minutes: 300 pages, 5% of them.", {
            "9": "time things percent number", "300": "time things percent number",
            "5": "time things percent number", "0.05": "time things percent number",
        }),
        ("", {}),
    ],
)  # fmt: skip
def test_measures(question: str, expected: dict[str, str]) -> None:
    assert known(question) == {number: frozenset(measure.split()) for number, measure in expected.items()}


def test_a_number_that_is_stated_twice_may_be_either() -> None:
    assert measures("He pays $5 for 5 pens.") == {"5": frozenset(["money", "things"])}


def of(words: str) -> Measures:
    return frozenset(words.split())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("operation", "first", "second", "expected"),
    [
        (product, "money", "things", "money"),  # a price and how many
        (product, "money", "time", "money"),
        (product, "money", "money", ""),
        (product, "money", "number", "money"),
        (product, "percent", "money", "money"),
        (product, "things", "things", "things"),  # rows of seats
        (product, "time", "time", "time"),  # hours a day, days
        (product, "time", "things", "time things"),  # minutes a page, pages a minute
        (product, "number", "number", "number"),
        (total, "money", "money", "money"),
        (total, "money", "time", ""),
        (total, "money things", "things", "things"),
        (total, "money", "number", "money"),
        (total, "percent", "number", "percent"),
    ],
)
def test_sums_and_products(operation: object, first: str, second: str, expected: str) -> None:
    for operands in ([of(first), of(second)], [of(second), of(first)]):
        assert operation(operands) == of(expected)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("money", "things", "money"),
        ("money", "number", "money"),
        ("money", "money", "things time percent number"),  # how many for that price, weeks to save it, how many times
        ("things", "money", None),
        ("things", "time", "time things"),
        ("time", "things", "time things"),
        ("things", "things", "things time percent number"),
    ],
)
def test_quotients(first: str, second: str, expected: str | None) -> None:
    assert quotient(of(first), of(second)) == (None if expected is None else of(expected))


@given(st.sampled_from(SETS), st.sampled_from(SETS), st.sampled_from(SETS))
def test_who_knows_less_concludes_less(first: Measures, second: Measures, more: Measures) -> None:
    assert product([first, second]) <= product([first | more, second])
    assert product([first, second]) == product([second, first])
    narrow, wide = quotient(first, second), quotient(first | more, second)
    assert wide is None or narrow is None or narrow <= wide
    assert total([first, NUMBER]) in (first, ANY)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Ann has 3 pens. How many pens does Bo have?", "things number"),
        ("How many more of the red apples are left?", "things number"),
        ("How many hours did he work?", "time"),
        ("How many dollars are left?", "money"),
        ("He earns $5. How much money is that in 3 weeks?", "money"),
        ("At $3 each, how much did they pay in all?", "money"),
        ("It cost $4. How much more will it cost?", "money"),
        ("What percentage of them swim?", "percent"),
        ("What percent is left?", "percent"),
        ("How many days and how many dollars are left?", "money"),  # the last one asked
        ("How much time did he spend?", None),
        ("Pens cost $1.50. How much did he pay for 3?", "money"),
        ("A pen costs 20 pesos. How much do 3 pens cost?", None),
        ("You get 3 pens for a dollar. How many pens can you buy with $5?", None),
        ("1 euro is 1.2 dollars. How many dollars are 50 euros?", None),
        ("He reads a page every minute. How many hours do 300 pages take?", "time things percent number"),
        ("How many nights did he stay?", None),
        ("How many day passes did it sell?", "things number"),
        ("How many centuries did it stand for 300 years?", None),
        ("He paid $8. Bob wondered how many days he needed. Find his pay.", None),
        ("How much did he pay at $3 each, no matter how many hours he shopped?", None),
        ("He paid $8. Tell how many hours he shopped.", None),
        ("Of 100 pens 40 are red. What percent of them are not?", None),
        ("How much did it earn, as a percentage, from $20 to $25?", None),
        ("How much longer did she spend on it?", None),
        ("How much of his day does he spend on it?", None),
        ("How much flour does she need?", None),
        ("How many pounds did it gain?", None),
        ("How many nickels make $2?", None),
        ("How many did she eat?", None),
        ("How many times as many has she?", None),
        ("How many work hours are left?", None),
        ("How long does it take?", None),
        ("What is the total?", None),
        ("Find the sum of 3 dollars and 4 dollars.", None),
        ("", None),
    ],
)
def test_what_is_asked_for(question: str, expected: str | None) -> None:
    assert asked(question) == (ANY if expected is None else of(expected))


def test_things_for_each_dollar_are_told() -> None:
    for said in ("3 points per dollar", "3 points for every $1", "20 pesos to the dollar", "packs of 10 for a dollar"):
        assert counts_per_money(f"A bank gives {said}. How many for $20?")
    assert not counts_per_money("Lunch costs $1.50 or $12. How many dollars do 3 cost?")


def test_a_long_question_is_read_once() -> None:
    began = time.process_time()
    for question in ("$5 " * 16_000, "$" * 25_000 + "5 " * 2_500, "a page every " * 4_000, "how much do " * 4_000):
        assert len(measures(question)) <= 1 and asked(question) == ANY
    assert time.process_time() - began < 10
