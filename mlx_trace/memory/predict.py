"""Unified memory: what a run will take at most, in bytes, from its network's shape and its own figures.

Pure arithmetic. What is kept for the backward pass follows from the code; how much of what passes by is there at once
was measured (`eval/bench/memory.py` measures it again). Imports no MLX.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from mlx_trace.memory.shape import FLOAT, Shape

LOGITS: Final = 1 << 23  # how many of the head's outputs exist at once, at most, but for one token's
_ROOM: Final = 64  # positions by which a cache of keys and values grows
_READ: Final = 512  # tokens of a prompt that are read at once

# Copies of an array that are there at once where nothing keeps them: MLX runs ahead of what can be freed. Measured.
_WEIGHTS: Final = 3.3  # attention weights, of one layer
_STATES: Final = 14.5  # a layer's states, or what else is about as large
_NARROW: Final = 4.0  # an MLP's inner states in fp32, where others are narrower
_GOLD: Final = 3.5, 3.5, 11.0  # a part of the head's logits in SFT: of one, more for each further one, at most
_DRAWN: Final = 4.5, 2.2, 22.0  # likewise in reinforcement
_SCOPE: Final = 0.45, 0.3  # how many of a trace's tokens are drawn, and how many of those from short lists
_GRADIENTS: Final = 0.75  # new gradients, while activations are there
_STEP: Final = 1.5  # gradients, while the optimizer takes its step


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What is settled once for a run, and kept when it is resumed."""

    micro_tokens: int = 2048  # sequence tokens, with padding, that are learnt from at once
    max_sequences: int = 64  # replies that are sampled at once
    activation_cache: Literal["memory", "disk", "off"] = "off"
    headroom: int | None = None  # tokens that take as long as a pass takes by itself, where that was timed


@dataclass(frozen=True, slots=True)
class ExampleLengths:
    """What gold examples there are, in tokens: the longest, what all begin with, the longest target, and in all."""

    longest: int
    shared: int
    target: int
    batch: int  # examples of an update
    total: int = 0  # of all examples, without what is shared
    held_out: int = 0  # examples to measure the loss on
    has_phase: bool = True  # False where only reinforcement learns from them
    repeats: bool = False  # whether an example is seen twice
    is_masked: bool = False  # whether its loss is among what a constraint offers; `target` then counts such tokens


@dataclass(frozen=True, slots=True)
class Rollouts:
    """What reinforcement samples, in tokens: the longest prompt, what all begin with, and the longest reply."""

    prompt: int
    prefix: int
    reply: int
    prompts: int  # of a rollout
    group: int  # samples of each
    is_held: bool = True  # replies are held to traces
    has_reference: bool = False  # a copy of the adapter
    imitates: bool = False  # learns solved samples as examples
    mixes_gold: bool = False  # learns gold examples, too


@dataclass(frozen=True, slots=True)
class Work:
    """What a run does, as far as memory is concerned."""

    examples: ExampleLengths | None
    rollouts: Rollouts | None
    is_fused: bool = False  # attention that needs no gradient is one kernel, as on GPUs

    @property
    def longest(self) -> int:
        """Return the longest sequence, in tokens."""
        return max(self.examples.longest if self.examples else 1,
                   self.rollouts.prompt + self.rollouts.reply if self.rollouts else 1)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Peaks:
    """The peak of each phase, 0 where there is none; and what of it the activation cache takes."""

    sft: int
    rollout: int
    learning: int
    cache: int

    @property
    def most(self) -> int:
        """Return the run's peak."""
        return max(self.sft, self.rollout, self.learning)


@dataclass(frozen=True, slots=True)
class _Batch:
    """A micro-batch: rows of their own tokens, behind a beginning that they share."""

    rows: int
    own: int  # tokens of a row
    above: int  # shared tokens, of all rows together
    length: int  # tokens of a row from its beginning
    pairs_above: int  # of queries and keys of the shared tokens
    wanted: float  # tokens of a row whose last states are needed
    logits: float  # tokens of a row that need all logits
    copies: tuple[float, float, float]  # of a part of those: see above

    @property
    def tokens(self) -> int:
        return self.above + self.rows * self.own

    @property
    def pairs(self) -> int:
        return self.pairs_above + self.rows * self.own * self.length


def cache_size(shape: Shape, work: Work) -> int:
    """Return what the states of all examples below the trained layers take."""
    examples = work.examples
    return (examples.total + examples.shared) * shape.hidden * shape.item if examples else 0


def predict(shape: Shape, work: Work, plan: MemoryPlan) -> Peaks:
    """Return how many bytes a run takes at most, with micro-batches, rollouts and activation cache as planned."""
    cache = cache_size(shape, work) if plan.activation_cache == "memory" else 0
    standing = shape.weights + shape.added + cache
    sft = rollout = learning = 0
    if work.examples and work.examples.has_phase:
        standing += 2 * shape.trained  # AdamW's, which stays when the phase is over
        sft = standing + _sft(shape, work, work.examples, plan)
    if work.rollouts:
        standing += (2 + work.rollouts.has_reference) * shape.trained + _folded(shape)
        rollout = standing + _rollout(shape, work, work.rollouts, plan.max_sequences)
        learning = standing + _learning(shape, work, work.rollouts, plan.micro_tokens)
    return Peaks(sft, rollout, learning, cache)


# --- learning --------------------------------------------------------------------------------------------------


def _sft(shape: Shape, work: Work, examples: ExampleLengths, plan: MemoryPlan) -> int:
    is_read = shape.has_frozen_layers and plan.activation_cache == "off"
    peaks = [_update(shape, work, batch, is_read, examples.batch)
             for batch in _gold(examples, plan.micro_tokens, examples.batch)]  # fmt: skip
    if examples.held_out:
        peaks += [_measure(shape, work, batch) for batch in _gold(examples, plan.micro_tokens, examples.held_out)]
    return max(peaks)


def _learning(shape: Shape, work: Work, rollouts: Rollouts, tokens: int) -> int:
    """Return what learning from a rollout takes, beside the states that the rollout left, which are there twice."""
    kept = 2 * _sampled(rollouts) * shape.hidden * shape.item + rollouts.prefix * _position(shape)
    most, is_read = rollouts.prompts * rollouts.group, shape.has_frozen_layers
    if rollouts.imitates:
        solved = ExampleLengths(rollouts.prompt + rollouts.reply, rollouts.prefix, rollouts.reply, most)
        peaks = [_update(shape, work, batch, is_read, most) for batch in _gold(solved, tokens, most)]
    else:
        peaks = [_update(shape, work, batch, False, most) for batch in _replies(rollouts, tokens, most)]
    if rollouts.mixes_gold and work.examples:
        peaks += [_update(shape, work, batch, is_read, most + 1)
                  for batch in _gold(work.examples, tokens, rollouts.prompts)]  # fmt: skip
    return kept + max(peaks)


def _rows(longest: int, tokens: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield (rows, length) of the largest micro-batches of so many tokens: of the longest rows, and with one more."""
    rows = max(1, min(most, tokens // longest))
    yield rows, longest
    if rows < most:
        yield rows + 1, min(longest, max(1, tokens // (rows + 1)))


def _gold(examples: ExampleLengths, tokens: int, most: int) -> Iterator[_Batch]:
    for rows, length in _rows(examples.longest, tokens, most):
        own = max(1, length - examples.shared)
        target = min(examples.target, own)
        copies = _DRAWN if examples.is_masked else _GOLD
        yield _Batch(rows, own, examples.shared, length, examples.shared**2, target, target, copies)


def _replies(rollouts: Rollouts, tokens: int, most: int) -> Iterator[_Batch]:
    drawn, listed = _SCOPE if rollouts.is_held else (1.0, 0.0)
    for rows, length in _rows(rollouts.prompt + rollouts.reply, tokens, most):
        prompts, own = min(rollouts.prompts, rows), rollouts.prompt - rollouts.prefix
        reply = max(1, min(rollouts.reply, length - rollouts.prompt))
        yield _Batch(rows, reply, rollouts.prefix + prompts * own, length,
                     rollouts.prefix**2 + prompts * own * rollouts.prompt, drawn * reply, drawn * (1 - listed) * reply,
                     _DRAWN)  # fmt: skip


def _update(shape: Shape, work: Work, batch: _Batch, is_read: bool, rows: int) -> int:
    """Return what an update of so many rows takes, of which this is the largest micro-batch.

    The peak may come when the frozen layers are run, with the head's logits, or as the last or another layer goes back.
    """
    waiting = 0 if batch.rows >= rows else shape.trained
    states = batch.tokens * shape.hidden * shape.item
    layer, last = _layer(shape, batch), _last(shape, batch)
    kept = states + (shape.trained_layers - 1) * (states if shape.recompute else layer)
    moments = [kept + (0 if shape.recompute else last) + _head(shape, batch)]
    moments.append(kept + last + _passing(shape, batch, batch.wanted / batch.own))
    if shape.trained_layers > 1:
        moments.append(kept + (layer if shape.recompute else 0) + _passing(shape, batch))
    if is_read:
        moments.append(states + _passing(shape, batch, is_fused=work.is_fused))
    return int(max(waiting + max(moments) + _GRADIENTS * shape.trained, _STEP * shape.trained))


def _measure(shape: Shape, work: Work, batch: _Batch) -> int:
    """Return what a loss takes without gradients."""
    states = batch.tokens * shape.hidden * shape.item
    return int(2 * states + max(_passing(shape, batch, is_fused=work.is_fused), _head(shape, batch)))


def _layer(shape: Shape, batch: _Batch) -> int:
    """Return what a trained layer keeps of a micro-batch for the backward pass, in training always unfused.

    Of a token: four times its state (into both norms and out of them), queries and what attention gives, five times the
    MLP's inner width (gate, its sigmoid, their product, up, and that times up).
    """
    numbers = 4 * shape.hidden + 2 * shape.queries + 5 * shape.intermediate
    return (batch.tokens * (numbers * shape.item + _adapters(shape)) + _attended(shape, batch)
            + shape.heads * batch.pairs * shape.item)  # fmt: skip


def _last(shape: Shape, batch: _Batch) -> int:
    """Return what the last layer keeps, which goes on only with the tokens wanted behind its keys and values."""
    wanted = batch.rows * batch.wanted
    numbers = 2 * shape.hidden + 2 * shape.queries + 5 * shape.intermediate
    each = (numbers + shape.heads * batch.length) * shape.item + _adapters(shape)
    return int(batch.tokens * 2 * shape.hidden * shape.item + _attended(shape, batch) + wanted * each)


def _adapters(shape: Shape) -> int:
    """Return what adapters keep of a token: their inner states, inputs that had to be cast, and what DoRA scales."""
    if not shape.rank:
        return 0
    cast = 5 * shape.hidden + shape.queries + shape.intermediate if shape.item < FLOAT else 0
    outputs = 2 * shape.hidden + shape.queries + 2 * shape.keys + 2 * shape.intermediate
    scaled = outputs * shape.item if shape.fine_tune_type == "dora" else 0
    return (7 * shape.rank + cast) * FLOAT + scaled


def _attended(shape: Shape, batch: _Batch) -> int:
    """Return the keys and values of rows, each with its beginning."""
    return (batch.rows * batch.length + batch.above) * 2 * shape.keys * shape.item


def _passing(shape: Shape, batch: _Batch, part: float = 1.0, is_fused: bool = False) -> float:
    """Return what is there besides what is kept while a layer is at work on a part of the tokens."""
    weights = 0 if is_fused else shape.heads * batch.pairs
    narrow = _NARROW * shape.intermediate if shape.item < FLOAT else 0
    return _WEIGHTS * part * weights * shape.item + batch.tokens * (_STATES * shape.hidden + narrow) * FLOAT


def _head(shape: Shape, batch: _Batch) -> float:
    """Return what the head's logits take, with their gradients."""
    part = max(LOGITS, shape.vocabulary)
    parts = batch.rows * batch.logits * shape.vocabulary / part
    first, more, most = batch.copies
    copies = FLOAT * min(most, first + more * max(0.0, parts - 1)) + (2 * shape.item if shape.item < FLOAT else 0)
    return min(1.0, parts) * part * copies


# --- rollouts --------------------------------------------------------------------------------------------------


def _rollout(shape: Shape, work: Work, rollouts: Rollouts, width: int) -> int:
    """Return what sampling takes: keys and values, the states that are kept, and what a pass leaves behind."""
    rows = min(width, rollouts.prompts * rollouts.group)
    room = -(-(rollouts.prompt + rollouts.reply) // _ROOM) * _ROOM
    ahead = min(rollouts.prompts, -(-rows // (2 * rollouts.group)))  # prompts that are read at once
    caches = (rows * room + ahead * rollouts.prompt + rollouts.prefix) * _position(shape)
    kept = _sampled(rollouts) * shape.hidden * shape.item
    tokens = ahead * min(_READ, rollouts.prompt)
    weights = 0 if work.is_fused else shape.heads * tokens * rollouts.prompt
    reading = _WEIGHTS * weights * shape.item + _STATES * tokens * shape.hidden * FLOAT
    drawing = 4 * rows * shape.vocabulary * FLOAT + 4 * rows * room * shape.keys * shape.item
    return int(caches + kept + max(reading, drawing))


def _sampled(rollouts: Rollouts) -> int:
    """Return how many tokens a rollout reads, whose states are kept."""
    own = rollouts.prompt - rollouts.prefix
    return rollouts.prefix + rollouts.prompts * (own + rollouts.group * rollouts.reply)


def _position(shape: Shape) -> int:
    """Return the keys and values of one position in all layers."""
    return shape.layers * 2 * shape.keys * shape.item


def _folded(shape: Shape) -> int:
    """Return the layers that rollouts use instead of adapted ones: where all is fp32, adapters are folded into them."""
    is_folded = shape.rank and shape.item == FLOAT and not shape.is_quantised
    return shape.trained_layers * shape.layer_numbers * FLOAT if is_folded else 0
