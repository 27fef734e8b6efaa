"""One of something is no plural, whatever is counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.numbered import numbered


@pytest.mark.parametrize(
    ("noun", "many"),
    [("problem", "problems"), ("reply", "replies"), ("family", "families"), ("day", "days"), ("box", "boxes"),
     ("record of a file", "records of a file")],
)  # fmt: skip
@given(count=st.integers(0, 10**7).filter(lambda count: count != 1))
def test_one_alone_is_no_plural(noun: str, many: str, count: int) -> None:
    assert numbered(1, noun) == f"1 {noun}"
    assert numbered(count, noun) == f"{count:,} {many}"
