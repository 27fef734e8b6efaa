"""A run that collapses says so while it runs, once; one that learns, or is done, is left in peace."""

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_trace.train.collapse import WINDOW, Collapse


def updates(rewards: Sequence[float], **columns: Any) -> list[dict[str, Any]]:
    """Return rows of updates with these mean rewards; a column is a value, or one for each update."""
    plain = {"reward_std": 0.3, "groups": 8, "entropy": 0.5, "kl": 0.02, "correct": 0.4, "trained_tokens": 500, "grad_norm": 0.3,
             "frac_reward_zero_std": 0.3} | columns  # fmt: skip
    return [{"update": at + 1, "reward": reward} | {name: value[at] if isinstance(value, list) else value for name, value in plain.items()}
            for at, reward in enumerate(rewards)]  # fmt: skip


def told(rows: Sequence[dict[str, Any]]) -> list[str]:
    watch = Collapse()
    return [line for row in rows for line in watch.note(row)]


def test_a_reward_that_falls_is_told_when_it_has_fallen() -> None:
    watch = Collapse()
    lines = [(row["update"], line) for row in updates([0.8] * 30 + [0.4] * 30) for line in watch.note(row)]
    ((update, line),) = lines
    assert 30 < update <= 30 + WINDOW
    assert line.startswith(f"rl, update {update}: the reward has fallen from 0.8 in the first")
    assert "reinforce.learning_rate" in line and "\n" not in line


@given(st.integers(), st.floats(-0.05, 0.5), st.floats(0.05, 0.4), st.integers(1, 16))
def test_a_reward_that_rises_or_wavers_is_no_fault(seed: int, rise: float, std: float, groups: int) -> None:
    rng = Random(seed)
    means = [0.5 + rise * at / 100 + rng.uniform(-1, 1) * 0.3 * std / groups**0.5 for at in range(100)]
    assert [line for line in told(updates(means, reward_std=std, groups=groups)) if "fallen" in line] == []


def test_a_reward_that_falls_by_little_is_no_fault_though_it_is_no_chance() -> None:
    assert told(updates([0.8] * 30 + [0.75] * 60, reward_std=0.01)) == []


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"entropy": [0.4] * 20 + [0.001] * 40}, "the entropy is 0.001 nats a token"),
        ({"kl": [0.01 * 1.2**at for at in range(60)]}, "the policy runs away"),
        ({"frac_reward_zero_std": 1.0, "grad_norm": 0.0, "trained_tokens": 0, "entropy": 0.0, "kl": 0.0}, "all rewards of each group"),
    ],
)  # fmt: skip
def test_entropy_divergence_and_groups_that_are_alike_are_told_once(columns: dict[str, Any], said: str) -> None:
    (line,) = told(updates([0.5] * 60, **columns))
    assert said in line and "try" in line and "\n" not in line


def test_a_single_update_far_away_is_no_runaway() -> None:
    assert told(updates([0.5] * 60, kl=[0.02] * 30 + [500.0] + [0.02] * 29)) == []


def test_a_policy_that_solves_its_problems_may_be_sure_of_itself() -> None:
    assert told(updates([0.98] * 60, entropy=0.001, correct=0.97)) == []


def test_updates_that_learnt_nothing_say_nothing_of_entropy() -> None:
    rows = updates([0.5] * 60, entropy=[0.4, 0.0] * 30, trained_tokens=[500, 0] * 30)
    assert told(rows) == []


def test_several_faults_are_several_lines() -> None:
    lines = told(updates([0.9] * 20 + [0.3] * 60, entropy=[0.5] * 20 + [0.0] * 60, kl=[0.1] * 20 + [9.0] * 60))
    assert len(lines) == 3


@given(st.integers(0, 2 * WINDOW - 1))
def test_too_few_updates_say_nothing_of_rewards(count: int) -> None:
    assert told(updates([0.9] * (count // 2) + [0.1] * (count - count // 2))) == []


def test_rows_of_sft_and_of_earlier_versions_are_passed_over() -> None:
    assert told([{"update": at, "loss": 1.0} for at in range(60)]) == []
    assert told([{"update": at, "reward": 0.5, "grad_norm": 0.1} for at in range(60)]) == []
    kept = updates([0.8] * 30 + [0.2] * 30)
    for one in kept:
        del one["reward_std"]
    assert told(kept) == []
