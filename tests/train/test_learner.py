"""Lists of tokens are cut where the head's weights that are gathered for them at once would be too many."""

from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.train.learner import _GATHERED, listed_runs


@given(st.lists(st.integers(1, 5000), max_size=40).map(sorted), st.integers(1, 20_000))
def test_runs_are_as_long_as_fits_and_leave_nothing_out(lengths: list[int], width: int) -> None:
    runs = list(listed_runs(lengths, width))
    assert [index for start, stop in runs for index in range(start, stop)] == list(range(len(lengths)))
    for start, stop in runs:
        assert stop - start == 1 or (stop - start) * lengths[stop - 1] * width <= _GATHERED
        assert stop == len(lengths) or (stop + 1 - start) * lengths[stop] * width > _GATHERED
