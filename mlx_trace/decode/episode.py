"""A request, the episode that answers it, and the row of a batch in which it comes about.

Knows nothing of networks; of the language only that an automaton says what may come next.
"""

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from mlx_trace.decode.automaton import Automaton, Choice


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt's ids, and the numbers that its trace may use, as text; None leaves them to the model.

    `stream` names the random streams of its samples; None: the request's number.
    """

    ids: Sequence[int]
    numbers: Sequence[str] | None = None
    stream: int | None = None


@dataclass(slots=True)
class Episode:
    """One sampled reply to request number `prompt`. The stop token, if one came, is the last of `ids`.

    `sampled` says which of the ids were drawn; the others were forced. Of each drawn one, in order, `logprobs` holds
    the log-probability under the distribution it was drawn from (fp32; 0 when greedy), and `choices` what was offered
    (None: every token). Where the engine keeps states, `prompt_places` are those of all prompt ids but the last, and
    `places` those of the last one and of the ids, as far as they were read.
    """

    prompt: int
    prompt_ids: Sequence[int]
    ids: list[int] = field(default_factory=list)
    sampled: list[bool] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    choices: list[Choice | None] = field(default_factory=list)
    truncated: bool = False
    finished: bool = False
    prompt_places: Sequence[int] = ()
    places: list[int] = field(default_factory=list)


class Row:
    """An episode while it runs: what the cache has not read of it yet, and who says what may come next."""

    def __init__(
        self,
        episode: Episode,
        stream: np.random.Generator,
        automaton: Automaton | None,
        stop_ids: Collection[int],
        max_tokens: int,
    ) -> None:
        self.episode, self.stream, self.automaton = episode, stream, automaton
        self.stop_ids, self.max_tokens = stop_ids, max_tokens
        self.pending = deque([episode.prompt_ids[-1]])
        self._take_forced()

    @property
    def choice(self) -> Choice | None:
        """Return what may come next; None is anything."""
        return None if self.automaton is None else self.automaton.choice

    def read(self, width: int) -> list[int]:
        """Return the next ids that the cache has not read, at most so many."""
        return [self.pending.popleft() for _ in range(min(width, len(self.pending)))]

    def take(self, token: int, logprob: float) -> None:
        """Note a drawn token, and what it forces."""
        episode = self.episode
        episode.ids.append(token)
        episode.sampled.append(True)
        episode.logprobs.append(logprob)
        episode.choices.append(self.choice)
        self.pending.append(token)
        if self.automaton is not None:
            self.automaton.take(token)
            self._take_forced()
            episode.finished = self.automaton.choice is None
        elif token in self.stop_ids:
            episode.finished = True
        elif len(episode.ids) >= self.max_tokens:
            episode.finished = episode.truncated = True

    def _take_forced(self) -> None:
        if self.automaton is not None:
            forced = self.automaton.ids[len(self.episode.ids) :]
            self.episode.ids += forced
            self.episode.sampled += [False] * len(forced)
            self.pending.extend(forced)
