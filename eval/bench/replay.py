"""Let two engines write the tokens of given scripts, doing all the work of choosing: for networks of random weights.

For bench/decode.py; both engines compute their logits, masks and draws, which are then thrown away.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from mlx_trace.decode import engine  # before MLX, whose BLAS our packages choose

# isort: split
import mlx.core as mx
from mlx_lm.generate import GenerationBatch

from mlx_trace.decode.automaton import Automaton
from mlx_trace.decode.draw import Draw
from mlx_trace.decode.episode import Request
from mlx_trace.decode.vocabulary import Vocabulary

Ids = list[int]


@contextmanager
def replayed_draws(scripts: Sequence[Ids]) -> Iterator[None]:
    """Let our engine draw as it does, and then take each row's next scripted token; `scripts` are by request."""
    make_row, draw = engine._Batch._row, engine.draw
    following: dict[int, tuple[Any, Iterator[int]]] = {}  # by the row's stream, which is kept so that its id stays

    def row(batch: Any, number: int) -> Any:
        made = make_row(batch, number)
        following[id(made.stream)] = (made.stream, iter(scripts[made.episode.prompt]))
        return made

    def replay(network: Any, states: Any, choices: Any, temperature: float, streams: Any, masks: Any) -> list[Draw]:
        draw(network, states, choices, temperature, streams, masks)
        return [(next(following[id(stream)][1]), 0.0) for stream in streams]

    with patch.object(engine._Batch, "_row", row), patch.object(engine, "draw", replay):
        yield


class Scripted:
    """A sampler for mlx-lm that samples as it does, and then returns each sequence's next scripted token.

    One for the whole batch, as its own is: a sampler for each sequence would slow it down.
    """

    def __init__(self, scripts: Sequence[Ids]) -> None:
        self.scripts, self.given = scripts, [0] * len(scripts)
        self.uids: Ids = []
        make_step = GenerationBatch._step

        def step(batch: Any) -> Any:
            self.uids = batch.uids
            return make_step(batch)

        self.step = step  # in place of mlx-lm's, to learn which sequences are sampled

    def __call__(self, logprobs: mx.array) -> mx.array:
        tokens = [self.scripts[uid][min(self.given[uid], len(self.scripts[uid]) - 1)] for uid in self.uids]
        for uid in self.uids:
            self.given[uid] += 1
        return mx.depends([mx.array(tokens, dtype=mx.uint32)], [mx.argmax(logprobs, axis=-1)])[0]


def drawn_tokens(vocabulary: Vocabulary, request: Request, script: Ids, max_tokens: int) -> Ids | None:
    """Return those of a script's tokens that the automaton lets be drawn; None if it does not accept the script."""
    automaton, drawn = Automaton(vocabulary, request.numbers, max_tokens), []
    while (choice := automaton.choice) is not None:
        at = len(automaton.ids)
        if at >= len(script) or automaton.ids != script[:at]:
            return None
        if script[at] not in choice.ids and not (choice.mask and vocabulary.mask(choice.mask)[script[at]]):
            return None
        drawn.append(script[at])
        automaton.take(script[at])
    return drawn if automaton.ids == script else None
