"""A time is written in the unit that it is worth, one alone is no plural, and a time to come reads as on a clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.times import clock, lasting, roughly


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "0 seconds"), (1, "1 second"), (59.2, "59 seconds"), (60, "1 minute"), (89, "1 minute"),
     (3540, "59 minutes"), (3599, "1 hour"), (3600, "1 hour"), (5400, "1.5 hours"), (50_400, "14 hours")],
)  # fmt: skip
def test_a_time_is_said_in_words(seconds: float, said: str) -> None:
    assert lasting(seconds) == said


@given(st.floats(0, 1e7))
def test_no_time_says_one_of_several(seconds: float) -> None:
    count, unit = lasting(seconds).split()
    assert unit.endswith("s") == (count != "1")
    assert float(count) < 60 or unit == "hours"


@pytest.mark.parametrize(("seconds", "said"), [(5, "1 min"), (400, "7 min"), (3600, "60 min"), (6000, "1.7 h"),
                                             (40_000, "11 h"), (10**6, "11.6 days")])  # fmt: skip
def test_computed_times_have_few_digits(seconds: float, said: str) -> None:
    assert roughly(seconds) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "0:00"), (42, "0:42"), (725, "12:05"), (11_220, "3:07:00"), (172_800, "2 days"), (9e5, "10 days")],
)  # fmt: skip
def test_times_read_as_on_a_clock(seconds: float, said: str) -> None:
    assert clock(seconds) == said
