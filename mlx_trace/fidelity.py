"""What a fused model keeps of its adapter: logits beside logits, along the adapter's traces of held-out questions.

Takes loaded networks. A trace that the adapter wrote greedily is the fused model's too if each of its tokens is the
likeliest there, which one pass tells. How much is kept is measured by what the adapter changed of its base.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import mlx.core as mx

from mlx_trace.config import FUSE_QUESTIONS
from mlx_trace.config_decoding import Decoding
from mlx_trace.decode.decoder import Decoder
from mlx_trace.decode.params import SamplingParams
from mlx_trace.evaluate.suites import EVERYDAY, suite
from mlx_trace.model.base import Base
from mlx_trace.model.head import head, hidden_states
from mlx_trace.model.prompts import Prompter

_LONGEST: Final = 200  # tokens of a trace; those of the questions are shorter
_MEASURED: Final = 32  # places of a trace at which all logits are compared: a large vocabulary's take a megabyte
_EVERYDAY: Final = 30  # there are no more
_LOST: Final = 0.5
_DOUBTFUL: Final = 0.9  # where traces differ as well
_NOTHING: Final = 1e-4  # a change of logits that is none


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How a fused model compares: differences of logits, traces and tokens that are the same, the effect that is kept.

    `kept` is 1 - |fused - adapter| / |adapter - base|, of logits without their mean, which softmax does not see; None
    where the adapter changes nothing, or there is none.
    """

    traces: int
    same: int
    tokens: int
    same_tokens: int
    largest: float
    mean: float
    kept: float | None

    @property
    def is_lost(self) -> bool:
        """Tell whether what was learnt is gone: half of its effect, or a tenth of it and not every trace the same."""
        if self.kept is None:
            return False
        return self.kept < _LOST or (self.kept < _DOUBTFUL and self.same < self.traces)

    def __str__(self) -> str:
        kept = "" if self.kept is None else f"; {max(self.kept, 0):.1%} of the adapter's effect is kept"
        tokens = f"{self.same_tokens / self.tokens:.1%} of their tokens"
        apart = f"logits differ by at most {self.largest:.2g} and by {self.mean:.2g} on average"
        return f"{self.same} of {self.traces} greedy traces are the adapter's ({tokens}), {apart}{kept}"


@dataclass(frozen=True, slots=True)
class Traces:
    """What an adapter wrote to held-out questions: prompt and reply of each, and the logits (P, V) behind some."""

    prompts: Sequence[Sequence[int]]
    replies: Sequence[Sequence[int]]
    logits: Sequence[mx.array]


def write_traces(base: Base, prompter: Prompter, n: int = FUSE_QUESTIONS) -> Traces:
    """Let a model with its adapter write greedy traces of n held-out questions, without a constraint."""
    asked = suite(EVERYDAY, min((n + 1) // 2, _EVERYDAY))
    problems = [*asked, *(suite("phrasing", n - len(asked)) if n > len(asked) else [])]
    decoder = Decoder(base, prompter, Decoding(constraint="none"), max_sequences=n)
    episodes = decoder.sample([problem.question for problem in problems], SamplingParams(_LONGEST))
    prompts, replies = [list(episode.prompt_ids) for episode in episodes], [list(episode.ids) for episode in episodes]
    logits = [logits for _, logits in _read(base.network, prompts, replies)]
    return Traces(prompts, replies, logits)


def effect(traces: Traces, plain: Base) -> float:
    """Return how far an adapter's logits are from its base's: the root of the mean square."""
    pairs = zip(traces.logits, _read(plain.network, traces.prompts, traces.replies), strict=True)
    return _root([_centred(mine - theirs) for mine, (_, theirs) in pairs])


def compare(traces: Traces, changed: float, fused: Base) -> Fidelity:
    """Say how a fused model compares with its adapter, which `changed` its base so far."""
    same, differences = [], []
    for reply, logits, (likeliest, own) in zip(
        traces.replies, traces.logits, _read(fused.network, traces.prompts, traces.replies), strict=True
    ):
        same.append([token == other for token, other in zip(reply, likeliest, strict=True)])
        differences.append(own - logits)
    absolute = [mx.abs(difference) for difference in differences]
    count = sum(logits.size for logits in absolute)
    return Fidelity(
        len(same), sum(map(all, same)), sum(map(len, same)), sum(map(sum, same)),
        max(logits.max().item() for logits in absolute), sum(logits.sum().item() for logits in absolute) / count,
        1 - _root([_centred(difference) for difference in differences]) / changed if changed > _NOTHING else None,
    )  # fmt: skip


def _read(
    network: Any, prompts: Sequence[Sequence[int]], replies: Sequence[Sequence[int]]
) -> Iterator[tuple[list[int], mx.array]]:
    """Yield of each reply which token is the likeliest at each place, and the logits (P, V) at some."""
    for prompt, reply in zip(prompts, replies, strict=True):
        states = hidden_states(network, mx.array([[*prompt, *reply[:-1]]]))[0, len(prompt) - 1 :]  # (T, D)
        logits = head(network, states).astype(mx.float32)
        step = -(-len(reply) // _MEASURED)
        some, likeliest = mx.contiguous(logits[::step]), mx.argmax(logits, axis=-1)
        mx.eval(some, likeliest)
        yield [int(token) for token in likeliest.tolist()], some


def _centred(logits: mx.array) -> mx.array:
    return logits - logits.mean(axis=-1, keepdims=True)


def _root(arrays: Sequence[mx.array]) -> float:
    total = sum(mx.square(array).sum().item() for array in arrays)
    return math.sqrt(total / sum(array.size for array in arrays))
