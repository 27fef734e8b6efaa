"""One optimizer step from micro-batches: gradients of losses over tokens, through the trained layers alone.

Takes states below the trained layers, and the losses at some positions, in chunks. The head's logits exist one chunk at
a time, forward and backward. Knows nothing of what the losses mean.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from mlx.utils import tree_map

from mlx_trace.errors import UserError
from mlx_trace.memory.predict import LOGITS
from mlx_trace.model.layers import LossPositions, PrefixTree, Split
from mlx_trace.train.ranks import Ranks

_GATHERED: Final = 1 << 23  # numbers of the head's weights that are gathered at once for short lists

Measured = dict[str, mx.array]  # what a loss measures of each token, (K,) each
Loss = Callable[[mx.array], tuple[mx.array, Measured]]  # states (K, D) → the losses' sum, and measurements


@dataclass(frozen=True, slots=True)
class Chunk:
    """The loss at some positions that are taken at once, `size` of them."""

    size: int
    loss: Loss


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Sequences that are learnt from at once: each level's states (R, T, D), the loss positions, and their losses.

    `order` (K,) puts the positions, which rise, into the order of the chunks.
    """

    states: Sequence[mx.array]
    tree: PrefixTree
    positions: LossPositions
    chunks: Sequence[Chunk]
    order: mx.array | None = None


class Learner:
    """The trained weights, the gradients that have been gathered for them, and the optimizer."""

    def __init__(self, network: Any, split: Split, optimizer: optim.Optimizer, clip: float, ranks: Ranks) -> None:
        self.network, self.split, self.optimizer, self.clip, self.ranks = network, split, optimizer, clip, ranks
        self._gradients: Any = None
        self._loss_and_grad = nn.value_and_grad(network, self._loss)

    def measure(self, batch: MicroBatch) -> tuple[float, dict[str, np.ndarray]]:
        """Return the loss, and what it measures at each position in the chunks' order; no gradient."""
        states = self._states(batch)
        total, measured = mx.array(0.0), []
        for chunk, piece in zip(batch.chunks, _pieces(states, batch.chunks), strict=True):
            loss, measures = chunk.loss(piece)
            total = total + loss
            mx.eval(total, measures)
            measured.append(measures)
        return float(total.item()), joined(measured)

    def add(self, batch: MicroBatch) -> tuple[float, dict[str, np.ndarray]]:
        """Add the gradients of a micro-batch to those that wait; return as `measure` does."""
        (_, loss, measured), gradients = self._loss_and_grad(self.network, batch)
        self._gradients = gradients if self._gradients is None else tree_map(mx.add, self._gradients, gradients)
        mx.eval(loss, measured, self._gradients)
        return float(loss.item()), joined(measured)

    def step(self) -> float:
        """Take one optimizer step with the gradients of all ranks; return their norm before clipping."""
        gradients = self._gradients
        if gradients is None:
            gradients = tree_map(mx.zeros_like, self.network.trainable_parameters())
        self._gradients = None
        gradients = self.ranks.sum(gradients)
        gradients, norm = optim.clip_grad_norm(gradients, self.clip or float("inf"))
        if not np.isfinite(norm.item()):
            raise UserError("the gradient is not finite, so this update is not made; a lower learning_rate may do, "
                            "or a base in a wider dtype (the last checkpoint is untouched)")  # fmt: skip
        if norm.item():
            self.optimizer.update(self.network, gradients)
            mx.eval(self.network.trainable_parameters(), self.optimizer.state)
        return float(norm.item())

    def _states(self, batch: MicroBatch) -> mx.array:
        states = self.split.trained(batch.states, batch.tree, batch.positions)
        return states if batch.order is None else states[batch.order]

    def _loss(self, _: Any, batch: MicroBatch) -> tuple[mx.array, mx.array, list[Measured]]:
        """Return something whose gradient is the loss's, then the loss, and what it measures.

        The head's gradient is taken chunk by chunk, and meets the states as a constant: Σ states · ∂loss/∂states.
        """
        states = self._states(batch)
        total, measured = mx.array(0.0), []
        slopes: list[mx.array] = []
        for chunk, piece in zip(batch.chunks, _pieces(mx.stop_gradient(states), batch.chunks), strict=True):
            (piece,) = mx.depends([piece], [total, *slopes[-1:]])  # one chunk after the other, and back
            (loss, measures), slope = mx.value_and_grad(chunk.loss)(piece)
            total = total + loss
            slopes.append(slope)
            measured.append(measures)
        meeting = (states.astype(mx.float32) * mx.stop_gradient(mx.concatenate(slopes)).astype(mx.float32)).sum()
        return meeting, total, measured


def in_chunks(count: int, vocabulary_size: int, loss: Callable[[int, int], Loss]) -> list[Chunk]:
    """Cut `count` positions whose whole logits are needed into chunks; `loss` gives that of positions start to stop."""
    size = max(1, LOGITS // vocabulary_size)
    return [Chunk(min(size, count - start), loss(start, min(start + size, count))) for start in range(0, count, size)]


def listed_runs(lengths: Sequence[int], width: int) -> Iterator[tuple[int, int]]:
    """Cut lists of rising lengths into runs, from start to stop, whose weights of the head are gathered at once.

    For K lists of A tokens at most K × A × `width` numbers are.
    """
    start = 0
    while start < len(lengths):
        stop = start + 1
        while stop < len(lengths) and (stop + 1 - start) * lengths[stop] * width <= _GATHERED:
            stop += 1
        yield start, stop
        start = stop


def _pieces(states: mx.array, chunks: Sequence[Chunk]) -> list[mx.array]:
    ends = np.cumsum([chunk.size for chunk in chunks]).tolist()
    return mx.split(states, ends[:-1]) if len(chunks) > 1 else [states]


def joined(measured: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Return what was measured at each position, one chunk's after the other's."""
    names = measured[0] if measured else ()
    return {name: np.concatenate([np.array(measures[name]) for measures in measured]) for name in names}
