"""A run that has become slow says so once, and a machine that slept is noticed; neither is said of ordinary runs."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.cli.progress import Pace
from mlx_trace.train.tempo import Tempo

CLOCK = {"wall": 0.0, "awake": 0.0}


def tempo() -> Tempo:
    CLOCK.update(wall=0.0, awake=0.0)
    return Tempo(lambda: CLOCK["wall"], lambda: CLOCK["awake"])


def update(seconds: float, tokens: float = 1000.0, phase: str = "sft", **more: Any) -> dict[str, Any]:
    CLOCK["wall"] += seconds
    CLOCK["awake"] += seconds
    return {"phase": phase, "seconds": seconds, "tokens": tokens, "target_tokens": tokens / 2, **more}


def test_heat_is_said_once_and_how_far_below_the_best() -> None:
    run = tempo()
    lines = [line for _ in range(30) for line in run.note(update(10.0))]
    assert lines == []
    lines = [line for _ in range(60) for line in run.note(update(20.0))]
    assert len(lines) == 1
    assert "50 tokens/s, 50% of this run's best (100)" in lines[0]


def test_a_short_dip_or_a_slow_beginning_is_nothing() -> None:
    run = tempo()
    slow_first = [update(20.0) for _ in range(12)]
    dip = [update(10.0) for _ in range(12)] + [update(20.0) for _ in range(4)] + [update(10.0) for _ in range(12)]
    assert [line for metrics in [*slow_first, *dip] for line in run.note(metrics)] == []


def test_other_work_has_a_best_of_its_own() -> None:
    run = tempo()
    quick = [update(10.0) for _ in range(12)]
    whole = [update(20.0) | {"target_tokens": 1000.0} for _ in range(40)]
    other_phase = [update(40.0, phase="rl", length=10.0, episodes=100) | {"tokens": 0.0} for _ in range(20)]
    assert [line for metrics in [*quick, *whole, *other_phase] for line in run.note(metrics)] == []


@given(st.lists(st.floats(0.1, 50), min_size=1, max_size=40), st.floats(0, 10**5))
def test_sleep_is_what_the_wall_clock_has_more(times: list[float], slept: float) -> None:
    run = tempo()
    for seconds in times:
        assert run.note(update(seconds, tokens=0.0)) == []
    metrics = update(1.0, tokens=0.0)
    CLOCK["wall"] += slept
    lines = run.note(metrics)
    assert bool(lines) == (CLOCK["wall"] - CLOCK["awake"] >= 30)
    assert run.note(update(1.0, tokens=0.0)) == [], "each time once"
    assert all(f"{slept / 60:.0f} min" in line for line in lines)


def test_a_clock_that_is_set_back_is_nothing() -> None:
    run = tempo()
    metrics = update(1.0)
    CLOCK["wall"] -= 3600
    assert run.note(metrics) == []


def test_the_time_to_come_survives_an_update_that_was_held_up() -> None:
    pace = Pace()
    for _ in range(10):
        pace.note(update(2.0))
    pace.note(update(3600.0))
    assert pace.parts("sft", 100, 200, update(2.0))[-1] == "ETA 4:20", "100 updates of 2.6 s, not of six minutes"


def test_speed_is_shown_beside_the_best_once_it_falls() -> None:
    pace = Pace()
    for _ in range(20):
        pace.note(update(1.0))
    assert "1,000 tok/s" in pace.parts("sft", 20, 200, update(1.0))
    for _ in range(40):
        pace.note(update(2.0))
    (shown,) = [part for part in pace.parts("sft", 60, 200, update(2.0)) if "tok/s" in part]
    assert shown.startswith("500 tok/s (5") and shown.endswith("% of best)")
