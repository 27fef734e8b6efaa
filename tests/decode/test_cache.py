"""A row of the cache holds what it was given, whatever the other rows do, and shows a pass no more than it may see."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mlx_trace.decode.cache import RaggedCache

import mlx.core as mx  # isort: skip

HEADS, SIZE = 2, 3
Rows = list[list[float]]  # a number for every position that counts


class Written:
    """A cache of two layers, and beside it what its rows must hold."""

    def __init__(self, batch_size: int) -> None:
        self.cache = RaggedCache(2, batch_size)
        self.rows: Rows = [[] for _ in range(batch_size)]
        self.last = 0.0

    def write(self, used: list[int]) -> None:
        """Make a pass: new numbers for every row, of which each counts only some; the rest are garbage."""
        width = max(used)
        numbers = self.last + 1.0 + np.arange(len(used) * width, dtype=np.float32).reshape(len(used), width)
        self.last = float(numbers.max())
        for layer, sign in zip(self.cache.open(width), (1.0, -1.0), strict=True):
            keys = mx.broadcast_to(mx.array(sign * numbers)[:, None, :, None], (len(used), HEADS, width, SIZE))
            layer.update_and_fetch(keys, keys + 0.5)
        self.cache.advance(used)
        for row, new, count in zip(self.rows, numbers.tolist(), used, strict=True):
            row += new[:count]

    def check(self) -> None:
        """Compare every row of every layer with what it must hold."""
        assert self.cache.lengths.tolist() == [len(row) for row in self.rows]
        for layer, sign in zip(self.cache.layers, (1.0, -1.0), strict=True):
            if layer.keys is None:
                assert not any(self.rows)
                continue
            keys, values = np.array(layer.keys), np.array(layer.values)
            for at, row in enumerate(self.rows):
                wanted = np.broadcast_to(sign * np.array(row)[None, :, None], (HEADS, len(row), SIZE))
                assert np.array_equal(keys[at, :, : len(row)], wanted)
                assert np.array_equal(values[at, :, : len(row)], wanted + 0.5)


def passes(batch_size: int, widest: int = 40) -> st.SearchStrategy[list[list[int]]]:
    """Passes over so many rows, each of which uses some of them."""
    used = st.lists(st.integers(0, widest), min_size=batch_size, max_size=batch_size).filter(any)
    return st.lists(used, min_size=1, max_size=6)


@settings(max_examples=40)
@given(passes(3))
def test_positions_that_do_not_count_are_written_again(batch: list[list[int]]) -> None:
    written = Written(3)
    for used in batch:
        written.write(used)
        written.check()


@settings(max_examples=20)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=5))
def test_rows_of_one_length_are_written_alike(widths: list[int]) -> None:
    written = Written(2)
    for width in widths:
        written.write([width, width])
    written.check()


def test_growing_keeps_what_was_there() -> None:
    written = Written(2)
    for _ in range(150):
        written.write([1, 2])
    written.check()
    assert written.cache.layers[0].keys.shape[2] >= 300


@settings(max_examples=40)
@given(passes(4), passes(3), st.data())
def test_fill_copies_rows_over_rows(theirs: list[list[int]], ours: list[list[int]], data: st.DataObject) -> None:
    source, target = Written(4), Written(3)
    source.last = 10_000.0
    for used in theirs:
        source.write(used)
    for used in ours if data.draw(st.booleans(), label="the target has been used") else []:
        target.write(used)
    places = data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True), label="places")
    chosen = data.draw(st.lists(st.integers(0, 3), min_size=len(places), max_size=len(places)), label="rows")
    target.cache.fill(places, source.cache, chosen)
    for place, row in zip(places, chosen, strict=True):
        target.rows[place] = list(source.rows[row])
    target.check()
    source.check()
    target.write([3, 0, 5])
    target.check()
    source.check()


def test_rows_of_a_cache_that_has_read_nothing_are_copied_too() -> None:
    target = Written(2)
    target.cache.fill([0, 1], Written(3).cache, [2, 0])
    target.write([3, 1])
    target.check()


@settings(max_examples=30)
@given(passes(4), st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_keep_leaves_the_rows_that_are_named_as_often_as_they_are(batch: list[list[int]], kept: list[int]) -> None:
    written = Written(4)
    for used in batch:
        written.write(used)
    written.cache.keep(kept)
    written.rows = [list(written.rows[at]) for at in kept]
    written.check()
    written.write(list(range(1, len(kept) + 1)))
    written.check()


@pytest.mark.parametrize("before", [[], [[3, 9]]], ids=["nothing read", "something read"])
def test_rows_that_are_added_are_empty(before: list[list[int]]) -> None:
    written = Written(2)
    for used in before:
        written.write(used)
    written.cache.grow(2)
    written.rows += [[], []]
    written.check()
    written.write([1, 0, 4, 2])
    written.check()


def seen(lengths: list[int], width: int, window: int | None) -> NDArray[np.bool_]:
    """Return which keys each position sees, in plain words."""
    reach = max(lengths) + width
    return np.array([[[[key <= length + at and (window is None or key > length + at - window) for key in range(reach)]
                       for at in range(width)]] for length in lengths])  # fmt: skip


@pytest.mark.parametrize("window", [None, 1, 4])
def test_a_position_sees_itself_and_what_its_row_has_before_it(window: int | None) -> None:
    written = Written(3)
    written.write([5, 0, 9])
    written.cache.open(3)
    assert np.array_equal(np.array(written.cache.window.mask(window)), seen([5, 0, 9], 3, window))
    last = mx.array([6, 0, 11])[:, None, None, None]
    expected = np.stack([seen([5, 0, 9], 3, window)[row, :, at : at + 1] for row, at in ((0, 1), (1, 0), (2, 2))])
    assert np.array_equal(np.array(written.cache.window.seen(last, window)), expected)
