"""Baselines as pure functions: rewards → advantages. Rewards of one prompt's samples form a group."""

from collections.abc import Sequence
from dataclasses import dataclass

Rewards = Sequence[Sequence[float]]  # one inner sequence a prompt: its samples' rewards
Advantages = list[list[float]]


@dataclass(frozen=True, slots=True)
class Ema:
    """An exponential moving average of past batches' mean reward; a batch is centred before it is averaged in."""

    value: float
    decay: float

    def centre(self, rewards: Rewards) -> tuple[Advantages, "Ema"]:
        """Return the advantages, and the average as it stands after this batch."""
        flat = [reward for group in rewards for reward in group]
        mean = sum(flat) / len(flat)
        after = Ema(self.decay * self.value + (1 - self.decay) * mean, self.decay)
        return [[reward - self.value for reward in group] for group in rewards], after


def leave_one_out(rewards: Rewards) -> Advantages:
    """Centre each reward on the mean of its group's others (RLOO; Kool et al. 2019). A group has two or more."""
    centred = []
    for group in rewards:
        total, others = sum(group), len(group) - 1
        centred.append([reward - (total - reward) / others for reward in group])
    return centred


def dead_groups(rewards: Rewards) -> int:
    """Return how many groups have equal rewards throughout: under a group's own baseline they teach nothing."""
    return sum(len(set(group)) == 1 for group in rewards)
