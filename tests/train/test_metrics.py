"""What metrics say of a phase at its end: what went wrong is said, and a healthy run is left in peace."""

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.train.metrics import verdict


def losses(values: Sequence[float]) -> list[dict[str, Any]]:
    return [{"loss": value, "grad_norm": 1.0} for value in values]


def rewards(means: Sequence[float], std: float = 0.2, groups: int = 8, **others: Any) -> list[dict[str, Any]]:
    row = {"grad_norm": 1.0, "reward_std": std, "groups": groups, "parse_failure": 0.0}
    return [{"reward": mean} | row | others for mean in means]


def test_a_loss_that_does_not_fall_is_told() -> None:
    stays = losses([4.0 + n % 2 for n in range(60)])
    assert "the loss did not fall, from 4.5 to 4.5" in str(verdict("sft", stays))
    assert verdict("sft", stays[:9]) is None, "too few to say"
    assert verdict("sft", losses([4.0 - n / 100 for n in range(60)])) is None
    assert verdict("sft", []) is None


@pytest.mark.parametrize("updates", [7, 12, 29, 60, 300])
def test_a_loss_that_has_jumped_is_told_though_it_falls_again(updates: int) -> None:
    jumped = losses([2.0, *(9.0 - 5 * n / updates for n in range(updates - 1))])
    assert "the loss has risen, from 2 before anything was learnt to" in str(verdict("sft", jumped))


@given(st.integers(7, 200), st.integers(), st.floats(0.02, 4))
def test_a_loss_that_falls_with_noise_is_no_fault(updates: int, seed: int, first: float) -> None:
    rng = Random(seed)
    assert (
        verdict("sft", losses([first * rng.uniform(0.8, 1.2) * 0.01 ** (n / updates) for n in range(updates)])) is None
    )


def test_gradients_that_are_all_0_are_told() -> None:
    flat = rewards([0.3] * 3, std=0.0, grad_norm=0.0)
    assert "nothing was learnt" in str(verdict("rl", flat))
    flat[1]["grad_norm"] = 0.1
    assert verdict("rl", flat) is None


@pytest.mark.parametrize("updates", [4, 20, 300])
def test_rewards_that_collapse_are_told_even_after_the_first_update(updates: int) -> None:
    collapsed = rewards([0.85, *([0.3] * (updates - 1))])
    assert "rewards have fallen, from 0.85 to 0.3" in str(verdict("rl", collapsed))


def test_rewards_that_fall_slowly_are_told() -> None:
    assert "rewards have fallen" in str(verdict("rl", rewards([0.9 - 0.5 * n / 100 for n in range(100)], std=0.3)))


def test_rewards_of_a_few_prompts_prove_nothing() -> None:
    assert verdict("rl", rewards([1.0, 0.7, 0.7, 0.7], std=0.0, groups=1)) is None
    assert verdict("rl", rewards([0.85, 0.3])) is None


@given(st.integers(1, 60), st.integers(1, 16), st.integers(0, 10**9), st.floats(0, 0.3))
def test_rewards_that_stay_or_rise_are_no_fault(updates: int, groups: int, seed: int, rise: float) -> None:
    """Groups of one update are drawn evenly from both ends, as a shuffled set of prompts has it, not by bare chance."""
    rng, rows = Random(seed), []
    for number in range(updates):
        drawn = [(place + rng.random()) / groups * 0.7 + rise * number / updates for place in range(groups)]
        mean = sum(drawn) / groups
        std = (sum((reward - mean) ** 2 for reward in drawn) / groups) ** 0.5
        rows += rewards([mean], std, groups)
    assert verdict("rl", rows) is None


def test_replies_that_are_no_traces_any_more_are_told() -> None:
    gone = rewards([0.5, 0.2, 0.0, 0.0, 0.0], std=0.0)
    for row in gone[2:]:
        row["parse_failure"] = 1.0
    assert "no reply of the last 3 updates was a trace" in str(verdict("rl", gone))


def test_rows_of_an_earlier_version_are_read() -> None:
    old = [{"reward": 0.5, "grad_norm": 0.1, "loss": 0.0} for _ in range(30)]
    assert verdict("rl", old) is None
