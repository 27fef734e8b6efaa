"""Let two engines write the tokens of given scripts, doing all the work of choosing: for networks of random weights.

For bench/decode.py and bench/rl.py; both sides compute their logits, masks and draws, which are then thrown away.
Scripts are samples of the tiny base, so that those of one prompt differ, and agree, as they do in training.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from mlx_trace.decode import sampler, scheduler  # before MLX, whose BLAS our packages choose
from mlx_trace.decode.params import SamplingParams

# isort: split
import mlx.core as mx
from mlx_lm.generate import GenerationBatch

from mlx_trace.config import Prompt
from mlx_trace.config_decoding import Decoding
from mlx_trace.decode.decoder import Decoder
from mlx_trace.decode.episode import Request
from mlx_trace.decode.grammar.automaton import Automaton
from mlx_trace.decode.grammar.vocabulary import Vocabulary, vocabulary_of
from mlx_trace.language.knowledge import grounded_numbers
from mlx_trace.model.adapter import load_adapter
from mlx_trace.model.base import TINY, Base, load_base
from mlx_trace.model.prompts import Prompter
from mlx_trace.problems.problem import Problem
from mlx_trace.resources import adapters_dir

Ids = list[int]


@contextmanager
def replayed_draws(scripts: Sequence[Ids]) -> Iterator[None]:
    """Let our engine draw as it does, and then take each sample's next scripted token; `scripts` are by episode."""
    make_sequence, draw = scheduler.Scheduler._sequence, sampler.Sampler.__call__
    following: dict[int, tuple[Any, Iterator[int]]] = {}  # by the sample's stream, which is kept so that its id stays

    def sequence(own: Any, waiting: Any, numbers: Sequence[int]) -> Any:
        made = make_sequence(own, waiting, numbers)
        for number, sample in zip(numbers, made.samples, strict=True):
            following[id(sample.stream)] = (sample.stream, iter(scripts[waiting.index * waiting.params.n + number]))
        return made

    def replay(own: Any, states: Any, choices: Any, temperature: float, streams: Any) -> Any:
        draw(own, states, choices, temperature, streams)
        return [[(next(following[id(stream)][1]), 0.0) for stream in samples] for samples in streams]

    with patch.object(scheduler.Scheduler, "_sequence", sequence), patch.object(sampler.Sampler, "__call__", replay):
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


def sampled_replies(problems: Sequence[Problem], num_samples: int, max_tokens: int) -> list[list[str]]:
    """Return what the tiny base with its bundled adapter replies to each problem, sampled at temperature 1."""
    base = load_base(TINY)
    load_adapter(base, adapters_dir() / TINY)
    decoder = Decoder(base, Prompter(base.tokenizer, Prompt()), Decoding())
    episodes = decoder.sample(
        [problem.question for problem in problems], SamplingParams(max_tokens, temperature=1.0, n=num_samples)
    )
    texts = [base.tokenizer.decode(episode.ids) for episode in episodes]
    return [texts[at : at + num_samples] for at in range(0, len(texts), num_samples)]


@dataclass(frozen=True)
class Script:
    """The ids of a reply, and those of them that are drawn under the constraint."""

    wanted: Ids
    drawn: Ids


def script_of(vocabulary: Vocabulary, request: Request, reply: str, max_tokens: int) -> Script | None:
    """Return a reply in a vocabulary's tokens; None if they are too many, or if the automaton does not accept them."""
    wanted = list(vocabulary.word(reply))
    drawn = drawn_tokens(vocabulary, request, wanted, max_tokens) if len(wanted) <= max_tokens else None
    return None if drawn is None else Script(wanted, drawn)


def scripts_of(
    base: Base, prompter: Prompter, problems: Sequence[Problem], num_samples: int, max_tokens: int
) -> list[tuple[Problem, Request, list[Script]]]:
    """Return the problems whose sampled replies all have scripts, with these."""
    vocabulary = vocabulary_of(base.tokenizer)
    found = []
    for problem, replies in zip(problems, sampled_replies(problems, num_samples, max_tokens), strict=True):
        request = Request(prompter.ids(problem.question), grounded_numbers(problem.question))
        scripts = [script_of(vocabulary, request, reply, max_tokens) for reply in replies]
        whole = [script for script in scripts if script is not None]
        if len(whole) == num_samples:
            found.append((problem, request, whole))
    return found


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
