"""One optimizer step from micro-batches: gradients of losses over tokens, through the trained layers alone.

Takes states below the trained layers, and the loss of the tokens wanted there, in parts. The head's logits exist one
part at a time, forward and backward. Knows nothing of what the losses mean.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from mlx.utils import tree_map

from mlx_trace.errors import UserError
from mlx_trace.model.layers import LossPositions, PrefixTree, Split
from mlx_trace.model.memory import LOGITS
from mlx_trace.train.ranks import Ranks

Found = dict[str, mx.array]  # what a loss measures of each token, (K,) each
Loss = Callable[[mx.array], tuple[mx.array, Found]]  # states (K, D) → the sum of the tokens' losses, and measurements


@dataclass(frozen=True, slots=True)
class Part:
    """The loss of some wanted tokens that are taken at once, `size` of them."""

    size: int
    loss: Loss


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Sequences that are learnt from at once: each level's states (R, T, D), the tokens wanted, and their loss.

    `order` (K,) puts the wanted tokens, which stand in the order of their places, into the order of the parts.
    """

    states: Sequence[mx.array]
    tree: PrefixTree
    wanted: LossPositions
    parts: Sequence[Part]
    order: mx.array | None = None


class Learner:
    """The trained weights, the gradients that have been gathered for them, and the optimizer."""

    def __init__(self, network: Any, split: Split, optimizer: optim.Optimizer, clip: float, ranks: Ranks) -> None:
        self.network, self.split, self.optimizer, self.clip, self.ranks = network, split, optimizer, clip, ranks
        self._gradients: Any = None
        self._loss_and_grad = nn.value_and_grad(network, self._loss)

    def measure(self, batch: MicroBatch) -> tuple[float, dict[str, np.ndarray]]:
        """Return the loss, and what it measures of each token in the parts' order; no gradient."""
        states = self._top(batch)
        loss, found = mx.array(0.0), []
        for part, piece in zip(batch.parts, _pieces(states, batch.parts), strict=True):
            one, measured = part.loss(piece)
            loss = loss + one
            mx.eval(loss, measured)
            found.append(measured)
        return float(loss.item()), joined(found)

    def add(self, batch: MicroBatch) -> tuple[float, dict[str, np.ndarray]]:
        """Add the gradients of a micro-batch to those that wait; return as `measure` does."""
        (_, loss, found), gradients = self._loss_and_grad(self.network, batch)
        self._gradients = gradients if self._gradients is None else tree_map(mx.add, self._gradients, gradients)
        mx.eval(loss, found, self._gradients)
        return float(loss.item()), joined(found)

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

    def _top(self, batch: MicroBatch) -> mx.array:
        states = self.split.trained(batch.states, batch.tree, batch.wanted)
        return states if batch.order is None else states[batch.order]

    def _loss(self, _: Any, batch: MicroBatch) -> tuple[mx.array, mx.array, list[Found]]:
        """Return something whose gradient is the loss's, then the loss, and what it measures.

        The head's gradient is taken part by part, and meets the states as a constant: Σ states · ∂loss/∂states.
        """
        states = self._top(batch)
        loss, found = mx.array(0.0), []
        slopes: list[mx.array] = []
        for part, piece in zip(batch.parts, _pieces(mx.stop_gradient(states), batch.parts), strict=True):
            (piece,) = mx.depends([piece], [loss, *slopes[-1:]])  # one part after the other, and back
            (one, measured), slope = mx.value_and_grad(part.loss)(piece)
            loss = loss + one
            slopes.append(slope)
            found.append(measured)
        meeting = (states.astype(mx.float32) * mx.stop_gradient(mx.concatenate(slopes)).astype(mx.float32)).sum()
        return meeting, loss, found


def in_parts(count: int, vocabulary_size: int, loss: Callable[[int, int], Loss]) -> list[Part]:
    """Cut `count` tokens whose whole logits are needed into parts; `loss` gives that of tokens start to stop."""
    size = max(1, LOGITS // vocabulary_size)
    return [Part(min(size, count - at), loss(at, min(at + size, count))) for at in range(0, count, size)]


def _pieces(states: mx.array, parts: Sequence[Part]) -> list[mx.array]:
    ends = np.cumsum([part.size for part in parts]).tolist()
    return mx.split(states, ends[:-1]) if len(parts) > 1 else [states]


def joined(found: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Return what was measured of each token, one part's after the other's."""
    return {name: np.concatenate([np.array(one[name]) for one in found]) for name in found[0]} if found else {}
