"""Intervals and paired tests for counts. Pure functions of exact numbers; exact where an exact form exists."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb, fsum, inf, nan, sqrt
from typing import Any, Final

Z95: Final = 1.959963984540054  # the two-sided 95% quantile of the normal distribution


@dataclass(frozen=True, slots=True)
class Rate:
    """A count out of n."""

    count: int
    n: int

    @property
    def share(self) -> float:
        """Return count / n; 0 for n = 0."""
        return self.count / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95% Wilson interval."""
        return wilson(self.count, self.n)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.count}/{self.n} = {self.share:.1%} [{low:.1%}, {high:.1%}]"

    def brief(self) -> str:
        """Return count, share and interval in percent, for a table that has n elsewhere."""
        low, high = self.interval
        return f"{self.count} {self.share:.1%} [{100 * low:.0f}–{100 * high:.0f}]"

    def as_json(self) -> dict[str, Any]:
        """Return count, share and interval, for an object that has n elsewhere."""
        return {"count": self.count, **_as_json(self)}


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of n shares, such as one a problem: the share of its samples that are right."""

    total: Fraction
    n: int

    @classmethod
    def of(cls, shares: Iterable[Fraction]) -> "Mean":
        """Return the mean of some shares, each from 0 to 1."""
        known = list(shares)
        return cls(sum(known, Fraction()), len(known))

    @property
    def share(self) -> float:
        """Return the mean; 0 for n = 0."""
        return float(self.total / self.n) if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Return a 95% interval: Wilson's, of n shares of 0 or 1, which vary most of all; it may be too wide."""
        return wilson(float(self.total), self.n)

    def brief(self) -> str:
        """Return the mean and its interval in percent, for a table that has n elsewhere."""
        low, high = self.interval
        return f"{self.share:.1%} [{100 * low:.0f}–{100 * high:.0f}]"

    def as_json(self) -> dict[str, Any]:
        """Return the mean and its interval, for an object that has n elsewhere."""
        return _as_json(self)


def _as_json(known: Rate | Mean) -> dict[str, Any]:
    return {"share": round(known.share, 4), "interval": [round(end, 4) for end in known.interval]}


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean of independent values and its 95% interval, normal; of paired differences, say. NaN for none."""
    if not values:
        return nan, nan, nan
    mean = fsum(values) / len(values)
    if len(values) == 1:
        return mean, -inf, inf
    half = Z95 * sqrt(fsum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))
    return mean, mean - half, mean + half


def wilson(count: float, n: int, z: float = Z95) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion (Wilson 1927); (0, 1) for n = 0."""
    if n == 0:
        return 0.0, 1.0
    share = count / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def mcnemar(first: list[bool], second: list[bool]) -> tuple[int, int, float]:
    """Compare two models on the same problems: (only the first right, only the second, exact two-sided p).

    The exact binomial form of McNemar's test (1947), on the discordant pairs alone.
    """
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    return only_first, only_second, sign_test(only_first, only_second)


def paired_difference(first: Sequence[bool], second: Sequence[bool]) -> tuple[float, float, float]:
    """Return how much larger the second share is, and its 95% interval, of two models on the same problems.

    Newcombe's interval of Wilson's, with the pairs' correlation (Newcombe 1998, Statist. Med. 17, 2635: his method 10).
    (0, −1, 1) for none.
    """
    pairs = list(zip(second, first, strict=True))
    n = len(pairs)
    if not n:
        return 0.0, -1.0, 1.0
    both, neither = pairs.count((True, True)), pairs.count((False, False))
    gained, lost = pairs.count((True, False)), pairs.count((False, True))
    after, before = both + gained, both + lost
    low_after, high_after = wilson(after, n)
    low_before, high_before = wilson(before, n)
    cross = both * neither - gained * lost
    spread = sqrt(after * (n - after) * before * (n - before))
    phi = (max(cross - n / 2, 0.0) if cross > 0 else cross) / spread if spread else 0.0

    def half(x: float, y: float) -> float:
        return sqrt(max(0.0, x * x - 2 * phi * x * y + y * y))

    difference = (after - before) / n
    below = half(after / n - low_after, high_before - before / n)
    above = half(high_after - after / n, before / n - low_before)
    return difference, max(-1.0, difference - below), min(1.0, difference + above)


def sign_test(rises: int, falls: int) -> float:
    """Return the exact two-sided p of so many rises and falls, were both as likely; ties are left out."""
    both = rises + falls
    tail = sum(comb(both, k) for k in range(min(rises, falls) + 1))
    return min(1.0, tail / 2 ** (both - 1)) if both else 1.0
