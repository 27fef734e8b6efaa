"""Whatever is laid out: nothing overlaps, every line runs downwards, all lie within the frame, and order is kept."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.evaluate.report.layout import HEIGHT, lay_out


@st.composite
def drawings(draw: st.DrawFn) -> tuple[list[tuple[int, ...]], list[float]]:
    """Draw operands, each before what uses it, and widths."""
    count = draw(st.integers(0, 14))
    args = [tuple(draw(st.lists(st.integers(0, node - 1), max_size=3))) if node else () for node in range(count)]
    return args, [draw(st.floats(20, 200)) for _ in range(count)]


@given(drawings())
def test_nothing_overlaps_and_lines_run_downwards(drawing: tuple[list[tuple[int, ...]], list[float]]) -> None:
    args, widths = drawing
    found = lay_out(args, widths)
    assert len(found.places) == len(args)
    boxes = [(x - width / 2, x + width / 2, y) for (x, y), width in zip(found.places, widths, strict=True)]
    for k, (left, right, y) in enumerate(boxes):
        assert left >= 0 and right <= found.width and HEIGHT / 2 <= y <= found.height - HEIGHT / 2
        for other_left, other_right, other_y in boxes[k + 1 :]:
            assert abs(y - other_y) >= HEIGHT or right <= other_left or other_right <= left
    assert {(upper, lower) for upper, lower, _ in found.lines} == {
        (arg, n) for n, own in enumerate(args) for arg in own
    }
    for upper, lower, points in found.lines:
        assert (points[0], points[-1]) == (found.places[upper], found.places[lower])
        assert all(above < below for (_, above), (_, below) in pairwise(points))


@given(drawings())
def test_a_line_passes_no_node(drawing: tuple[list[tuple[int, ...]], list[float]]) -> None:
    args, widths = drawing
    found = lay_out(args, widths)
    for upper, lower, points in found.lines:
        for x, y in points[1:-1]:
            for node, (place, row) in enumerate(found.places):
                assert node in (upper, lower) or row != y or abs(x - place) > widths[node] / 2


def test_operands_stand_as_they_are_written_and_nothing_crosses_without_need() -> None:
    found = lay_out([(), (), (), (), (0, 1), (2, 3), (4, 5)], [40.0] * 7)
    xs = [x for x, _ in found.places]
    assert xs[0] < xs[1] < xs[2] < xs[3] and xs[4] < xs[5]
    crossed = lay_out([(), (), (), (), (3, 1), (2, 0), (4, 5)], [40.0] * 7)
    xs = [x for x, _ in crossed.places]
    assert max(xs[3], xs[1]) < min(xs[2], xs[0])
