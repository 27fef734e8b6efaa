"""Whether reinforcement goes wrong while it runs, in one line each, once, with what to try.

Takes what updates measured, one after the other. Says nothing that a few prompts, or a phase that is done, explain as
well. Knows nothing of networks.
"""

from collections import deque
from collections.abc import Callable
from statistics import fmean, median
from typing import Final

from mlx_trace.train.metrics import Metrics, fall

WINDOW: Final = 10  # updates that are looked at together
_ERRORS: Final = 3.0  # standard errors by which rewards must have fallen,
_MARGIN: Final = 0.1  # and the share of where they began
_NO_ENTROPY: Final = 0.01  # nats a token
_RUNAWAY: Final = 1.0  # nats a sampled token, from the reference
_SOLVED: Final = 0.9  # share of right replies from which a policy may well be sure of itself


class Collapse:
    """Watches the updates of one phase."""

    def __init__(self) -> None:
        self.first: list[Metrics] = []
        self.recent: deque[Metrics] = deque(maxlen=WINDOW)
        self.count = 0
        self.told: set[str] = set()

    def note(self, row: Metrics) -> list[str]:
        """Take in an update; return what is to be said now, and was not before."""
        if "reward" not in row:
            return []
        self.count += 1
        if len(self.first) < WINDOW:
            self.first.append(row)
        self.recent.append(row)
        if len(self.recent) < WINDOW:
            return []
        lines = {name: line for name, look in _SIGNS.items() if name not in self.told and (line := look(self))}
        self.told |= lines.keys()
        return [f"rl, update {row.get('update', self.count)}: {line}" for line in lines.values()]

    def mean(self, name: str) -> float:
        """Return the mean over the latest updates."""
        return fmean(float(row.get(name, 0.0)) for row in self.recent)


def _fallen(watch: Collapse) -> str | None:
    if watch.count < 2 * WINDOW:
        return None
    before = fmean(float(row["reward"]) for row in watch.first)
    after = watch.mean("reward")
    is_real = fall(watch.first, list(watch.recent)) > _ERRORS
    if not is_real or before - after < _MARGIN * abs(before):
        return None
    return (f"the reward has fallen from {before:.3g} in the first {WINDOW} updates to {after:.3g} in the last: try a "
            "lower reinforce.learning_rate or a larger reinforce.kl, and go back to an earlier adapter")  # fmt: skip


def _certain(watch: Collapse) -> str | None:
    learnt = [float(row["entropy"]) for row in watch.recent if row.get("trained_tokens") and "entropy" in row]
    if len(learnt) < WINDOW // 2 or fmean(learnt) > _NO_ENTROPY or watch.mean("correct") >= _SOLVED:
        return None
    return (f"the entropy is {fmean(learnt):.2g} nats a token: a prompt's samples are nearly all alike, and little can "
            "be learnt from comparing them; try reinforce.entropy: 0.01, a higher reinforce.temperature, or a lower "
            "reinforce.learning_rate")  # fmt: skip


def _alike(watch: Collapse) -> str | None:
    if min(float(row.get("frac_reward_zero_std", 0.0)) for row in watch.recent) < 1 or any(
        row.get("grad_norm") for row in watch.recent
    ):
        return None
    return (f"all rewards of each group were alike in the last {WINDOW} updates, and nothing was learnt: try a larger "
            "reinforce.group_size, a higher reinforce.temperature, or problems that are neither too easy nor too hard"
            )  # fmt: skip


def _far(watch: Collapse) -> str | None:
    far = [float(row["kl"]) for row in watch.recent if row.get("trained_tokens") and "kl" in row]
    if len(far) < WINDOW // 2 or median(far) < _RUNAWAY:
        return None
    return (f"the policy runs away from where it began: {median(far):.2g} nats a sampled token; try a larger "
            "reinforce.kl or a lower reinforce.learning_rate")  # fmt: skip


_SIGNS: Final[dict[str, Callable[[Collapse], str | None]]] = {
    "fallen": _fallen, "certain": _certain, "alike": _alike, "far": _far,
}  # fmt: skip
