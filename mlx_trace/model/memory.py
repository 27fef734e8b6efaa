"""Unified memory: how much a run will take, and the micro-batch and rollout width that fit a budget."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What is settled once for a run, and kept when it is resumed."""

    micro_tokens: int = 8192  # sequence tokens, with padding, that are learnt from at once
    width: int = 64  # replies that are sampled at once
    trunk_cache: Literal["memory", "disk", "off"] = "off"
