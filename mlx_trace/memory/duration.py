"""How long a run takes on a chip, and how long the GPU works on one evaluation: computed from FLOPs and bytes.

Takes a network's shape, a run's figures, and a chip. Counts what is there to do, at the speed that training comes to;
knows nothing of heat, or of who else uses the GPU. Imports no MLX.
"""

from dataclasses import dataclass
from typing import Final

from mlx_trace.memory.macs import Chip
from mlx_trace.memory.predict import MemoryPlan, Rollouts, Work
from mlx_trace.memory.shape import Shape

_DRAWN: Final = (
    0.45  # of a held trace's tokens, those that cost a pass of their own: the others follow (eval/decoding.md)
)
_PASS: Final = 0.01  # seconds of a pass besides the GPU's: the constraint, and some hundred launches


@dataclass(frozen=True, slots=True)
class Load:
    """What a run does in all: examples seen and how many there are, rollouts, and mean lengths in tokens."""

    seen: int  # examples, each as often as it is seen
    examples: int
    sft_updates: int
    rollouts: int
    updates_per_rollout: int
    prompt: float  # a prompt's tokens behind what all begin with
    target: float  # a trace's


def layer_flops(shape: Shape, length: float) -> float:
    """Return a token's FLOPs in one frozen layer, behind so many others."""
    return 2 * shape.layer_numbers + 4 * shape.queries * length


def trained_flops(shape: Shape, length: float) -> float:
    """Return a token's FLOPs in one trained layer, forward and back: the gradient of states, and of what is trained."""
    forward, added = layer_flops(shape, length), 2 * shape.trained_each if shape.rank else 0
    weights = 2 * added if shape.rank else 2 * shape.layer_numbers
    again = forward + added if shape.recompute else 0
    return 2 * (forward + added) + 4 * shape.queries * length + weights + again  # attention goes back twice


def head_flops(shape: Shape) -> float:
    """Return a loss position's FLOPs in the head, forward and back to its state."""
    return 4.0 * shape.hidden * shape.vocabulary


def update_flops(shape: Shape, work: Work, tokens: int) -> float:
    """Return the FLOPs of the largest evaluation of learning: a micro-batch of so many tokens, in the trained layers.

    Frozen layers are evaluated apart, some at a time.
    """
    longest = work.longest
    rows = max(1, tokens // longest)
    targets = [work.examples.target] if work.examples and work.examples.has_phase else []
    targets += [work.rollouts.reply] if work.rollouts else []
    head = max(targets, default=0) * head_flops(shape)
    return rows * (longest * shape.trained_layers * trained_flops(shape, longest) + head)


def seconds(shape: Shape, work: Work, plan: MemoryPlan, load: Load, chip: Chip) -> dict[str, float]:
    """Return how many seconds each phase of a run takes, by its name."""
    parts = {}
    if load.seen:
        parts["sft"] = _sft(shape, work, plan, load, chip)
    if load.rollouts and work.rollouts:
        parts["rl"] = load.rollouts * _rollout(shape, work.rollouts, plan, load, chip)
    return parts


def _sft(shape: Shape, work: Work, plan: MemoryPlan, load: Load, chip: Chip) -> float:
    """Return the seconds of SFT: frozen layers for each example once, if that is kept, and the rest each time."""
    own = load.prompt + load.target
    shared = work.examples.shared if work.examples else 0
    length = shared + own / 2
    read = load.seen if plan.activation_cache == "off" else min(load.seen, load.examples)
    frozen = (shape.layers - shape.trained_layers) * layer_flops(shape, length)
    trained = shape.trained_layers * trained_flops(shape, length)
    batches = max(load.sft_updates, load.seen * own / plan.micro_tokens)
    begun = batches * shared * (frozen + trained)  # what all begin with is computed once a micro-batch
    flops = own * (read * frozen + load.seen * trained) + begun + load.seen * load.target * head_flops(shape)
    return flops / chip.speed


def _rollout(shape: Shape, rollouts: Rollouts, plan: MemoryPlan, load: Load, chip: Chip) -> float:
    """Return the seconds of one rollout and what is learnt from it: every reply as long as a trace, and each taught."""
    replies, length = rollouts.prompts * rollouts.group, rollouts.prefix + load.prompt + load.target
    each = shape.layers * layer_flops(shape, length)
    reading = rollouts.prompts * load.prompt * each
    width = min(plan.max_sequences, replies)
    drawn = _DRAWN * load.target if rollouts.is_held else load.target
    passes = -(-replies // width) * drawn
    keys = width * length * shape.layers * 2 * shape.keys * shape.item
    computed = width * load.target / max(1.0, drawn) * each + width * head_flops(shape) / 2
    once = max((shape.weights + keys) / chip.reading, computed / chip.speed) + _PASS
    tokens = rollouts.prefix + rollouts.prompts * load.prompt + replies * load.target
    learnt = tokens * shape.trained_layers * trained_flops(shape, length) + replies * drawn * head_flops(shape)
    again = load.updates_per_rollout + (1 / 3 if rollouts.has_reference else 0)  # the reference runs forward alone
    return reading / chip.speed + passes * once + again * learnt / chip.speed
