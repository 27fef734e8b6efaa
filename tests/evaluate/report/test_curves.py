"""Charts hold what was measured: means and bands of pooled updates, gaps where nothing was, ticks that are round."""

from collections.abc import Sequence
from math import inf, isfinite, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.evaluate.report.curves import charts, grade_charts
from mlx_trace.evaluate.report.training import PhaseMetrics, TrainingRun

NUMBERS = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([nan, inf, 0.0, 1e-9, 1e9]))


def run(name: str = "run", phase: str = "sft", **columns: Sequence[float]) -> TrainingRun:
    length = len(next(iter(columns.values())))
    known = {metric: list(column) for metric, column in columns.items()}
    return TrainingRun(name, {phase: PhaseMetrics(list(range(1, length + 1)), known)}, "", None, {}, {})


@given(st.lists(NUMBERS, min_size=1, max_size=500).filter(lambda column: any(map(isfinite, column))))
def test_all_lie_within_the_chart_and_no_number_is_lost(column: list[float]) -> None:
    (chart,) = charts([run(loss=column)])
    (line,) = chart.lines
    points = [point for part in (*line.segments, *line.bands) for point in part]
    assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in points)
    assert all(0 <= place <= 1 for place, _ in (*chart.x_ticks, *chart.y_ticks))
    assert len({text for _, text in chart.y_ticks}) == len(chart.y_ticks) >= 2
    assert len(line.read) == sum(len(segment) for segment in line.segments) <= 180
    known = [value for value in column if isfinite(value)]
    assert all(
        min(known) - 1e-3 * abs(min(known)) <= value <= max(known) + 1e-3 * abs(max(known)) for _, value in line.read
    )


def test_a_gap_parts_a_line() -> None:
    (chart,) = charts([run(loss=[3, 2, nan, 1, inf, 1])])
    assert [len(segment) for segment in chart.lines[0].segments] == [2, 1, 1]


def test_many_updates_are_pooled_with_their_range() -> None:
    (chart,) = charts([run(loss=[float(n % 10) for n in range(100_000)])])
    (line,) = chart.lines
    assert len(line.read) <= 180 and {round(value, 1) for _, value in line.read} == {4.5}
    assert sorted({y for _, y in line.bands[0]}) == [0.0, 0.9]


def test_runs_share_a_chart_each_with_its_own_line_and_length() -> None:
    (chart,) = charts([run("a", loss=[2.0, 1.0]), run("b", loss=[4.0, 3.0, 2.0, 1.0])])
    assert [(line.run, line.segments[0][-1][0]) for line in chart.lines] == [
        (0, pytest.approx(1 / 3, abs=1e-3)),
        (1, 1.0),
    ]


def test_what_follows_is_drawn_in_place_of_what_it_follows_from() -> None:
    found = charts(
        [
            run(
                loss=[1.0, 2.0],
                tokens=[100, 200],
                seconds=[2.0, 0.0],
                peak_memory=[3e9, 3e9],
                epoch=[0, 1],
                other=[1.0, 2.0],
            )
        ]
    )
    assert [chart.title for chart in found] == [
        "loss",
        "tokens a second",
        "peak memory, GB",
        "seconds an update",
        "other",
    ]
    assert found[1].lines[0].read == [(1, 50.0)] and found[2].lines[0].read[0] == (1, 3.0)


def test_a_column_that_is_equal_but_for_rounding_is_flat() -> None:
    (chart,) = charts([run(loss=[3.1] * 1000 + [3.1 + 4e-16])])
    assert len({y for _, y in chart.lines[0].segments[0]}) == 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=400))
def test_grades_stand_on_each_other(rights: list[float]) -> None:
    (chart,) = grade_charts([run(phase="rl", correct=rights, wrong_answer=[1 - right for right in rights])])
    (_, lower), (_, upper) = chart.areas
    half = len(lower) // 2
    assert list(reversed(upper[half:])) == lower[:half]
    assert all(y == pytest.approx(1, abs=1e-3) for _, y in upper[:half])
