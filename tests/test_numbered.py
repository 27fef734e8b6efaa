"""One of something is no plural, whatever is counted, and a time is said in the unit that it is worth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.numbered import lasting, numbered


@pytest.mark.parametrize(
    ("noun", "many"),
    [("problem", "problems"), ("reply", "replies"), ("family", "families"), ("day", "days"), ("box", "boxes"),
     ("record of a file", "records of a file")],
)  # fmt: skip
@given(count=st.integers(0, 10**7).filter(lambda count: count != 1))
def test_one_alone_is_no_plural(noun: str, many: str, count: int) -> None:
    assert numbered(1, noun) == f"1 {noun}"
    assert numbered(count, noun) == f"{count:,} {many}"


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
