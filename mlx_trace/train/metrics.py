"""What updates measured, and what that says of a phase at its end: nothing where it learnt, else what went wrong.

Says something only where chance does not explain it as well. Knows nothing of networks.
"""

from collections.abc import Mapping, Sequence
from typing import Final

Metrics = dict[str, float | int | str]  # what an update measured, by name
Rows = Sequence[Mapping[str, float | int | str]]  # of some updates, one after the other

_FEW: Final = 3  # updates whose mean says nothing
_ERRORS: Final = 3.0  # standard errors that chance hardly makes
_NATS: Final = 0.1  # a token, and a quarter of the loss: what batches of like examples differ by
_SHARE: Final = 1.25
_NONE: Final = 1e-6  # rewards that differ by less are equal


def figures_of(rows: Rows) -> dict[str, float]:
    """Return what a run's last updates measured, as `sft/loss`, with the number of its updates and their seconds."""
    figures: dict[str, float] = {"updates": len(rows), "seconds": round(sum(_column(rows, "seconds")), 2)}
    for row in rows:
        figures |= {f"{row['phase']}/{name}": float(value) for name, value in row.items()
                    if isinstance(value, int | float) and name != "update"}  # fmt: skip
    return figures


def verdict(phase: str, rows: Rows) -> str | None:
    """Return a line for who trained and learnt nothing, or unlearnt; None where that cannot be said, or is not so."""
    if not rows:
        return None
    if not any(_column(rows, "grad_norm")):
        return f"{phase}: nothing was learnt: every gradient was 0 (in reinforcement, all rewards of each group alike)"
    line = _of_rewards(rows) if "reward" in rows[0] else _of_losses(_column(rows, "loss"))
    return line and f"{phase}: {line}"


def _of_losses(losses: Sequence[float]) -> str | None:
    """Compare the end with the first loss, which the first update had no part in, and with the beginning."""
    tenth, end = len(losses) // 10, losses[-max(_FEW, len(losses) // 4) :]
    before, after = losses[0], _mean(end)
    if len(losses) > 2 * _FEW and min(end) > before and after > _SHARE * before + _NATS:
        return (f"the loss has risen, from {before:.4g} before anything was learnt to {after:.4g} at the end: a lower "
                "learning_rate may do")  # fmt: skip
    first, last = _mean(losses[:tenth]), _mean(losses[-tenth:])
    if tenth >= _FEW and last >= first:
        return (f"the loss did not fall, from {first:.4g} to {last:.4g}: nothing was learnt; another learning_rate may "
                "do")  # fmt: skip
    return None


def _of_rewards(rows: Rows) -> str | None:
    """Compare the end with the first rollout, of the policy as it was found, and with the beginning."""
    size = max(_FEW, len(rows) // 10)
    last = rows[-size:]
    if min(_column(last, "parse_failure")) == 1 and max(_column(last, "reward_std")) < _NONE:
        return f"no reply of the last {len(last)} updates was a trace, so there was nothing to learn from"
    for first in (rows[:1], rows[:size]):
        if len(first) + len(last) <= len(rows) and fall(first, last) > _ERRORS:
            before, after = _mean(_column(first, "reward")), _mean(_column(last, "reward"))
            return (f"rewards have fallen, from {before:.3g} to {after:.3g}: the policy has unlearnt; a lower "
                    "reinforce.learning_rate may do, or a larger reinforce.kl")  # fmt: skip
    return None


def fall(first: Rows, last: Rows) -> float:
    """Return by how many standard errors the mean reward fell, as if both were samples of one distribution.

    What counts as one sample is a prompt with all its replies, which are alike.
    """
    before, after = (sum(_column(rows, "groups")) for rows in (first, last))
    rows = [*first, *last]
    if not before or not after or any("reward_std" not in row for row in rows):  # rows of earlier versions lack it
        return 0.0
    rewards, deviations, groups = (_column(rows, name) for name in ("reward", "reward_std", "groups"))
    total = before + after
    mean = sum(reward * count for reward, count in zip(rewards, groups, strict=True)) / total
    squares = sum((reward**2 + deviation**2) * count
                  for reward, deviation, count in zip(rewards, deviations, groups, strict=True)) / total  # fmt: skip
    deviation = max(0.0, squares - mean**2) ** 0.5
    fall = _mean(_column(first, "reward")) - _mean(_column(last, "reward"))
    return fall / (deviation * (1 / before + 1 / after) ** 0.5) if fall > 0 and deviation > 0 else 0.0


def _column(rows: Rows, name: str) -> list[float]:
    return [float(row.get(name) or 0.0) for row in rows]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))
