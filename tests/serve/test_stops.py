"""A text ends where a stop sequence begins, and what may still become one is held back."""

from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.serve.stops import cut, held

TEXTS = st.text("ab\n", max_size=12)
STOPS = st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3)


@given(TEXTS, STOPS)
def test_a_cut_text_is_the_longest_beginning_before_any_stop(text: str, stops: list[str]) -> None:
    end = cut(text, stops)
    assert (end is None) == (not any(stop in text for stop in stops))
    if end is not None:
        assert text.startswith(end)
        assert not any(stop in end for stop in stops)
        assert any(text.startswith(stop, len(end)) for stop in stops)


@given(TEXTS, TEXTS, STOPS)
def test_what_is_not_held_back_is_never_taken_back(text: str, rest: str, stops: list[str]) -> None:
    if cut(text, stops) is None:
        shown = text[: len(text) - held(text, stops)]
        end = cut(text + rest, stops)
        assert (text + rest if end is None else end).startswith(shown)
        assert held(text, stops) <= max(map(len, stops), default=1) - 1
