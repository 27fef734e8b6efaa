"""Which tokens of a gold trace the constraint leaves to the model, and the loss of those alone, among what it offers.

Takes questions, the ids of traces and the decoding settings; then states (K, D) and what was offered at each. A token
that nobody has to choose costs nothing. Knows nothing of where states come from.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from mlx_trace.config import TraceForm
from mlx_trace.config_decoding import Decoding
from mlx_trace.decode.grammar.automaton import Automaton
from mlx_trace.decode.grammar.follow import choices_on
from mlx_trace.decode.grammar.rules import rules_for
from mlx_trace.decode.grammar.vocabulary import Mask, Vocabulary
from mlx_trace.decode.grammar.writing import Choice
from mlx_trace.decode.sampler import Masks, by_kind, padded
from mlx_trace.language.knowledge import grounded_numbers
from mlx_trace.model.head import head, head_size, listed_logits
from mlx_trace.train.learner import Chunk, Loss, in_chunks, listed_runs


@dataclass(frozen=True, slots=True)
class Choices:
    """Where a target's tokens were chosen, and what was offered there, in arrays: there are millions of them."""

    indexes: Sequence[int]  # indexes into the target, rising
    ids: Sequence[int]  # listed tokens, those of one choice after those of the other
    ends: Sequence[int]  # where each choice's end
    masks: tuple[Mask | None, ...]

    def __len__(self) -> int:
        return len(self.indexes)

    def weights(self, name_weight: float) -> list[float]:
        """Return what each weighs in the loss: 1, or so much where the model spells a word of its own."""
        return [name_weight if mask is not None and mask.is_word else 1.0 for mask in self.masks]

    def offered(self) -> list[Choice]:
        """Return what was offered at each."""
        starts = [0, *self.ends[:-1]]
        return [Choice(mask, tuple(self.ids[start:end]))
                for mask, start, end in zip(self.masks, starts, self.ends, strict=True)]  # fmt: skip


def choices_of(
    question: str, ids: Sequence[int], vocabulary: Vocabulary, decoding: Decoding, form: TraceForm
) -> Choices | None:
    """Return the choices that writing `ids` takes under the constraint; None if it cannot be written at all.

    A trace that breaks a rule is held to the constraint without rules; one of numbers that are not grounded, to none on
    numbers.
    """
    numbers = grounded_numbers(question) if decoding.grounding == "hard" else None
    rules = rules_for(question, decoding.chosen_rules)
    for allowed, own in ((numbers, rules), (numbers, None), (None, None)):
        automaton = Automaton(vocabulary, allowed, 2 * len(ids) + 200, own, form)
        written, choices = choices_on(automaton, vocabulary, ids)
        if written == len(ids):
            return _packed(choices)
    return None


def _packed(choices: Sequence[tuple[int, Choice]]) -> Choices:
    listed = [choice.ids for _, choice in choices]
    return Choices(
        array("i", (index for index, _ in choices)), array("i", (token for ids in listed for token in ids)),
        array("i", np.cumsum([len(ids) for ids in listed]).tolist()),
        tuple(None if choice.mask is None else _same(choice.mask) for _, choice in choices),
    )  # fmt: skip


@lru_cache(maxsize=4096)
def _same(mask: Mask) -> Mask:
    """Return the one object of all that are equal."""
    return mask


# --- the loss --------------------------------------------------------------------------------------------------


def loss_chunks(
    network: Any,
    targets: Sequence[int],
    offered: Sequence[Choice | None],
    weights: Sequence[float],
    divisor: float,
    masks: Masks,
    width: int,
) -> tuple[list[Chunk], list[int]]:
    """Return the losses −Σ weight · log p(target) / divisor among what was offered (None: all tokens), and their order.

    Where tokens are listed, they weigh 1, and the head is run for those alone; `width` is that of a state.
    """
    listed, masked = by_kind(offered)
    lists = {index: choice.ids for index in listed if (choice := offered[index]) is not None}
    listed.sort(key=lambda index: len(lists[index]))
    chunks: list[Chunk] = []
    for start, stop in listed_runs([len(lists[index]) for index in listed], width):
        part = listed[start:stop]
        loss = _listed(network, [targets[index] for index in part], [lists[index] for index in part], divisor)
        chunks.append(Chunk(stop - start, loss))
    golds, choices = [targets[index] for index in masked], [offered[index] for index in masked]
    shares = [weights[index] / divisor for index in masked]
    chunks += in_chunks(
        len(masked), head_size(network),
        lambda start, stop: cross_entropy(
            network, mx.array(golds[start:stop]), mx.array(shares[start:stop]), masks, choices[start:stop]
        ),
    )  # fmt: skip
    return chunks, [*listed, *masked]


def _listed(network: Any, targets: Sequence[int], lists: Sequence[tuple[int, ...]], divisor: float) -> Loss:
    offered = mx.array(padded(lists))  # (K, A), filled up with -1
    places = mx.array([ids.index(target) for ids, target in zip(lists, targets, strict=True)])

    def loss(states: mx.array) -> tuple[mx.array, dict[str, mx.array]]:
        logits = listed_logits(network, states, mx.maximum(offered, 0)).astype(mx.float32)
        losses = nn.losses.cross_entropy(mx.where(offered >= 0, logits, -mx.inf), places)
        return losses.sum() / divisor, {"loss": losses}

    return loss


def cross_entropy(
    network: Any, targets: mx.array, shares: mx.array, masks: Masks, offered: Sequence[Choice | None]
) -> Loss:
    """Return the loss −Σ share · log p(target) among what was offered, in fp32; targets and shares (K,)."""

    def loss(states: mx.array) -> tuple[mx.array, dict[str, mx.array]]:
        logits = masks.apply(head(network, states).astype(mx.float32), offered)
        losses = nn.losses.cross_entropy(logits, targets)
        return (losses * shares).sum(), {"loss": losses}

    return loss
