"""The learning rate of each update: a warm-up, then constant or falling."""

import math


def learning_rate(index: int, updates: int, peak: float, warmup: int, decay: str) -> float:
    """Return the rate of an update: a linear warm-up, then constant, or down to a tenth by cosine or linearly.

    The cosine is that of Loshchilov & Hutter (2017, 1608.03983), without restarts.
    """
    if index < warmup:
        return peak * (index + 1) / warmup
    done = (index - warmup) / max(1, updates - warmup)
    match decay:
        case "cosine":
            return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))
        case "linear":
            return peak * (1 - 0.9 * done)
        case _:
            return peak
