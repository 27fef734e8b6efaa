"""What learning from a rollout measures of its tokens, and what that comes to for an update.

Takes arrays of all sampled tokens, and how many samples each stands for. Knows nothing of networks.
"""

from collections.abc import Sequence

import numpy as np

from mlx_trace.train.metrics import Metrics
from mlx_trace.train.ranks import Ranks
from mlx_trace.train.rl.packing import SampledTokens

Tokens = dict[str, np.ndarray]  # what an update measures of each sampled token, (K,) each


def token_measures(tokens: SampledTokens, order: Sequence[int], logprobs: np.ndarray, clip: float) -> Tokens:
    """Return how far log-probabilities, (K,) in some order, are from those of sampling, and which ratios are clipped.

    A ratio is clipped where it has left 1 ± clip in the direction in which its advantage pulls, as TRL counts it.
    """
    chosen = list(order)
    log_ratio, advantages = logprobs - tokens.old_logprobs[chosen], tokens.advantages[chosen]
    measured = {"gap": np.abs(log_ratio), "count": tokens.counts[chosen]}
    if clip:
        ratio = np.exp(log_ratio)
        measured["low"] = (ratio < 1 - clip) & (advantages < 0)
        measured["high"] = (ratio > 1 + clip) & (advantages > 0)
    return measured


def clip_ratios(steps: Sequence[Tokens], clip: float, ranks: Ranks) -> Metrics:
    """Return the shares of tokens whose ratio was clipped, below, above and both, over all steps on one rollout."""
    if not clip:
        return {}
    sums = np.zeros(3)
    for step in filter(None, steps):
        sums += [float((step["count"] * which).sum()) for which in (1, step["low"], step["high"])]
    count, low, high = ranks.total(*sums.tolist())
    shares = {"low": low, "high": high, "region": low + high}
    return {f"clip_ratio/{name}_mean": share / max(1.0, count) for name, share in shares.items()}


def speeds(metrics: Metrics, sampling: float, learning: float) -> Metrics:
    """Return seconds and tokens a second of both halves of an update."""
    measured, tokens = Metrics(), float(metrics["length"]) * float(metrics["episodes"])
    for name, seconds in {"rollout": sampling, "learn": learning}.items():
        measured |= {f"{name}_seconds": round(seconds, 4), f"{name}_tokens_per_second": tokens / seconds}
    return measured
