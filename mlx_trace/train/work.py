"""What a run does, in the figures that its memory is planned from.

Takes a configuration, what it trains on, and how many processes share it. Knows nothing of networks.
"""

from collections.abc import Sequence
from typing import Final

from mlx_trace.config import Config
from mlx_trace.memory.predict import ExampleLengths, Rollouts, Work
from mlx_trace.model.layers import shared_length
from mlx_trace.model.prompts import Prompter
from mlx_trace.train.activation_cache import own_tokens
from mlx_trace.train.examples import Example
from mlx_trace.train.gather import Material

_READ: Final = 200  # questions, the longest as text, among which the longest prompt is


def work_of(config: Config, material: Material, prompter: Prompter, processes: int = 1, is_fused: bool = False) -> Work:
    """Return what one of so many processes does."""
    rollouts = None
    if config.reinforce.iters > 0:
        rl = config.reinforce
        questions = sorted((problem.question for problem in material.problems), key=len)[-_READ:]
        rollouts = Rollouts(
            max(len(prompter.ids(question)) for question in questions), len(prompter.prefix), rl.max_tokens,
            _share(rl.batch_size, processes), rl.group_size, config.decoding.constraint == "scope", rl.kl > 0,
            rl.algorithm == "expert_iteration", rl.sft_weight > 0,
        )  # fmt: skip
    return Work(_examples(config, material, processes) if material.rows else None, rollouts, is_fused)


def _examples(config: Config, material: Material, processes: int) -> ExampleLengths:
    every: Sequence[Example] = [*material.rows, *material.held_out]
    shared = shared_length([row.prompt for row in every])
    longest = max(map(len, every)) - 1
    size = config.batch_size * config.grad_accumulation_steps
    if config.batch_tokens is not None:
        size = max(1, config.batch_tokens // longest)
    seen = config.epochs * len(material.rows) if config.iters is None else config.iters * size
    counted = max(len(row.target if config.finish_on_all else row.counted) for row in every)
    return ExampleLengths(
        longest, shared, counted, _share(size, processes),
        own_tokens(every, shared), len(material.held_out), seen > 0, seen > len(material.rows),
        config.loss == "choices",
    )  # fmt: skip


def _share(count: int, processes: int) -> int:
    return -(-count // processes)
