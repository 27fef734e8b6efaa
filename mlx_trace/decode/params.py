"""How replies are sampled: one record through every call."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """At most `max_tokens` a reply, `n` replies a prompt; greedily at temperature 0. `seed` is of everything random."""

    max_tokens: int
    temperature: float = 0.0
    n: int = 1
    seed: int = 0
