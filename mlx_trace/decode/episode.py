"""A request, the episodes that answer it, and the sequences of a batch in which they come about.

Knows nothing of networks; of the language only that an automaton says what may come next.
"""

from collections import deque
from collections.abc import Collection, Sequence
from copy import copy
from dataclasses import dataclass, field

import numpy as np

from mlx_trace.decode.grammar.automaton import Automaton
from mlx_trace.decode.grammar.rules import Rules
from mlx_trace.decode.grammar.writing import Choice
from mlx_trace.decode.params import SamplingParams
from mlx_trace.language.grade import Grade

SampledToken = tuple[int, float]  # an id, and its log-probability under the distribution it was sampled from


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt's ids, and the numbers that its trace may use, as text; None leaves them to the model.

    `stream` names the random streams of its samples; None: the request's number. `rules` are the question's, if any.
    """

    ids: Sequence[int]
    numbers: Sequence[str] | None = None
    stream: int | None = None
    rules: Rules | None = None


@dataclass(slots=True)
class Episode:
    """Reply `number` of those sampled to request `prompt`. The stop token, if one came, is the last of `ids`.

    `sampled` says which of the ids were sampled; the others are jump-forward ones. Of each sampled one, in order,
    `logprobs` holds the log-probability under the distribution it came from (fp32; 0 when greedy), and `choices` what
    was offered (None: every token). Where the engine caches activations, `prompt_activations` are the indexes of those
    of all prompt ids but the last, and `activations` of those of the last one and of the ids, as far as they were read.
    Training adds `grade` and `advantage`.
    """

    prompt: int
    prompt_ids: Sequence[int]
    ids: list[int] = field(default_factory=list)
    sampled: list[bool] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    choices: list[Choice | None] = field(default_factory=list)
    truncated: bool = False
    finished: bool = False
    prompt_activations: Sequence[int] = ()
    activations: list[int] = field(default_factory=list)
    grade: Grade | None = None
    advantage: float = 0.0
    number: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """An episode, and the random stream that it is sampled with."""

    episode: Episode
    stream: np.random.Generator


class SharedSequence:
    """Samples of one prompt that agree so far: what the cache has not read of them yet, and what may come next.

    They are one row of the batch until they sample different tokens, and are then forked.
    """

    def __init__(
        self, samples: Sequence[Sample], automaton: Automaton | None, stop_ids: Collection[int], params: SamplingParams
    ) -> None:
        self.samples, self.automaton, self.stop_ids, self.params = samples, automaton, stop_ids, params
        self.pending = deque(samples[0].episode.prompt_ids[-1:])
        self._jump_forward()

    @property
    def choice(self) -> Choice | None:
        """Return what may come next; None is anything."""
        return None if self.automaton is None else self.automaton.choice

    @property
    def finished(self) -> bool:
        """Tell whether nothing comes any more."""
        return self.samples[0].episode.finished

    def read(self, width: int) -> list[int]:
        """Return the next ids that the cache has not read, at most so many."""
        return [self.pending.popleft() for _ in range(min(width, len(self.pending)))]

    def take(self, tokens: Sequence[SampledToken]) -> list["SharedSequence"]:
        """Note the token of each sample, and what follows from it; return the sequences there are now, one a token."""
        by_token: dict[int, list[int]] = {}
        for index, (token, _) in enumerate(tokens):
            by_token.setdefault(token, []).append(index)
        samples, sequences = self.samples, [self, *(self._forked() for _ in range(1, len(by_token)))]
        for sequence, (token, indexes) in zip(sequences, by_token.items(), strict=True):
            sequence.samples = [samples[index] for index in indexes]
            sequence._take(token, tokens[indexes[0]][1])
        return sequences

    def _forked(self) -> "SharedSequence":
        """Return another sequence that has come as far; its samples are yet to be told."""
        other = copy(self)
        other.pending = deque()
        other.automaton = None if self.automaton is None else self.automaton.replayed()
        return other

    def _take(self, token: int, logprob: float) -> None:
        choice = self.choice
        for sample in self.samples:
            sample.episode.ids.append(token)
            sample.episode.sampled.append(True)
            sample.episode.logprobs.append(logprob)
            sample.episode.choices.append(choice)
        self.pending.append(token)
        if self.automaton is not None:
            self.automaton.take(token)
            self._jump_forward()
            finished, truncated = self.automaton.choice is None, False
        else:
            stopped, length = token in self.stop_ids, len(self.samples[0].episode.ids)
            truncated = not stopped and length >= self.params.max_tokens
            finished = stopped or truncated
        for sample in self.samples:
            sample.episode.finished, sample.episode.truncated = finished, truncated

    def _jump_forward(self) -> None:
        """Write what the automaton leaves no choice about."""
        if self.automaton is not None:
            forced = self.automaton.ids[len(self.samples[0].episode.ids) :]
            for sample in self.samples:
                sample.episode.ids += forced
                sample.episode.sampled += [False] * len(forced)
            self.pending.extend(forced)
