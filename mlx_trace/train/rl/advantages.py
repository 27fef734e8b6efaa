"""Baselines as pure functions: rewards → advantages, both P × G: the G samples of each of P prompts form a group.

A baseline that does not depend on the sample leaves the policy gradient's expectation as it is (Williams 1992).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

Rewards = Sequence[Sequence[float]]  # one inner sequence a prompt: its samples' rewards
Advantages = list[list[float]]

_LEAST: Final = 1e-4  # added to a standard deviation


@dataclass(frozen=True, slots=True)
class Ema:
    """An exponential moving average of past batches' mean reward; a batch is centred before it is averaged in."""

    value: float
    decay: float

    def centre(self, rewards: Rewards) -> Advantages:
        """Return the rewards less the average, as it stood before this batch."""
        return [[reward - self.value for reward in group] for group in rewards]

    def after(self, mean: float) -> "Ema":
        """Return the average after a batch of that mean reward."""
        return Ema(self.decay * self.value + (1 - self.decay) * mean, self.decay)


def leave_one_out(rewards: Rewards) -> Advantages:
    """Centre each reward on the mean of its group's others: RLOO (Kool et al. 2019; Ahmadian et al. 2024, 2402.14740).

    A group has two samples or more.
    """
    centred = []
    for group in rewards:
        total, others, is_flat = sum(group), len(group) - 1, has_zero_variance(group)
        centred.append([0.0 if is_flat else reward - (total - reward) / others for reward in group])
    return centred


def group_mean(rewards: Rewards) -> Advantages:
    """Centre each reward on its group's mean: GRPO (Shao et al. 2024, 2402.03300); leave-one-out times (G − 1) / G."""
    return [[0.0] * len(group) if has_zero_variance(group) else [reward - sum(group) / len(group) for reward in group]
            for group in rewards]  # fmt: skip


def scaled_by_group(advantages: Advantages, rewards: Rewards) -> Advantages:
    """Divide each group's advantages by the standard deviation of its rewards (with Bessel's correction), as GRPO does.

    Dr. GRPO (Liu et al. 2025, 2503.20783) leaves it out: it weighs prompts by how little their samples differ.
    """
    return [[value / (float(np.std(group, ddof=1)) + _LEAST) for value in values]
            for values, group in zip(advantages, rewards, strict=True)]  # fmt: skip


def scaled(advantages: Advantages, deviation: float) -> Advantages:
    """Divide all advantages by one standard deviation."""
    return [[value / (deviation + _LEAST) for value in values] for values in advantages]


def has_zero_variance(group: Sequence[float]) -> bool:
    """Tell whether a group's rewards are equal throughout: under its own baseline it teaches nothing."""
    return len(set(group)) <= 1
