"""Intervals and tests equal published values."""

from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.evaluate.stats import Mean, Rate, mcnemar, paired_difference, wilson


@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe (1998), method 3 without continuity correction, his table I
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (8, 30, 0.1418, 0.4445),
    ],
)
def test_wilson_equals_newcombe_s_table(count: int, n: int, low: float, high: float) -> None:
    assert wilson(count, n) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_holds_its_share_and_stays_in_range(pair: tuple[int, int]) -> None:
    count, n = pair
    low, high = wilson(count, n)
    assert 0 <= low <= count / n + 1e-12
    assert count / n - 1e-12 <= high <= 1
    assert wilson(n - count, n) == (pytest.approx(1 - high), pytest.approx(1 - low))


def test_nothing_measured_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert Rate(0, 0).share == 0.0


def test_a_rate_never_stands_bare() -> None:
    assert str(Rate(8, 30)) == "8/30 = 26.7% [14.2%, 44.4%]"


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [(0, 0, 1.0), (0, 5, 0.0625), (1, 9, 0.021484375), (8, 8, 1.0), (5, 15, 0.041389465), (121, 59, 4.434e-06)],
)  # sums of binomial tails
def test_mcnemar_is_the_exact_binomial_test(only_first: int, only_second: int, p: float) -> None:
    first = [True] * only_first + [False] * only_second + [True, False]
    second = [False] * only_first + [True] * only_second + [True, False]
    assert mcnemar(first, second) == (only_first, only_second, pytest.approx(p, rel=1e-3))


def test_mcnemar_needs_the_same_problems() -> None:
    with pytest.raises(ValueError, match="zip"):
        mcnemar([True], [True, False])


@given(st.lists(st.fractions(0, 1), min_size=1, max_size=60))
def test_a_mean_of_shares_has_problems_as_its_unit(shares: list[Fraction]) -> None:
    mean = Mean.of(shares)
    low, high = mean.interval
    assert low - 1e-12 <= mean.share <= high + 1e-12
    assert mean.interval == wilson(float(sum(shares)), len(shares))
    counts = [round(share) for share in shares]
    assert Mean.of(map(Fraction, counts)).interval == Rate(sum(counts), len(counts)).interval


def test_a_mean_s_interval_holds_what_it_measures() -> None:
    random, held = Random(5), 0
    for _ in range(400):  # 60 problems of their own difficulties, 8 samples each
        chances = [random.betavariate(0.6, 1.4) for _ in range(60)]
        mean = Mean.of(Fraction(sum(random.random() < chance for _ in range(8)), 8) for chance in chances)
        held += mean.interval[0] <= 0.3 <= mean.interval[1]  # the mean of all such problems
    assert held >= 0.95 * 400


def test_a_mean_of_nothing_says_nothing() -> None:
    assert (Mean.of([]).share, Mean.of([]).interval) == (0.0, (0.0, 1.0))
    assert Mean.of([Fraction(1, 2), Fraction(0)]).brief() == "25.0% [3–80]"


@pytest.mark.parametrize(
    ("both", "first", "second", "neither", "low", "high"),
    [
        (36, 2, 12, 0, 0.0569, 0.3404),  # Newcombe (1998), Statist. Med. 17, 2635: his method 10
        (1, 7, 1, 12, -0.507, -0.026),  # Fagerland, Lydersen, Laake (2014), airway hyper-responsiveness
    ],
)
def test_a_difference_of_pairs_equals_published_intervals(
    both: int, first: int, second: int, neither: int, low: float, high: float
) -> None:
    pairs = both * [(True, True)] + first * [(True, False)] + second * [(False, True)] + neither * [(False, False)]
    before, after = ([pair[side] for pair in pairs] for side in (0, 1))
    difference = paired_difference(before, after)
    assert difference == pytest.approx(((second - first) / len(pairs), low, high), abs=5e-4)
    back = paired_difference(after, before)
    assert back == pytest.approx((-difference[0], -difference[2], -difference[1]))


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40))
def test_a_difference_lies_in_its_interval(pairs: list[tuple[bool, bool]]) -> None:
    difference, low, high = paired_difference([a for a, _ in pairs], [b for _, b in pairs])
    assert -1 <= low <= difference + 1e-12 and difference - 1e-12 <= high <= 1
