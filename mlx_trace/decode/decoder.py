"""Questions → episodes: the one way in which rollouts, evaluation and chat let a model reply.

Takes a loaded base, its prompter and the decoding settings. Knows nothing of answers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from mlx_trace.config import Decoding
from mlx_trace.decode.automaton import Automaton
from mlx_trace.decode.engine import WIDTH, Engine
from mlx_trace.decode.episode import Episode, Request
from mlx_trace.decode.forward import check_rows
from mlx_trace.decode.vocabulary import vocabulary_of
from mlx_trace.errors import UserError
from mlx_trace.language.numbers import grounded_numbers
from mlx_trace.model.base import Base
from mlx_trace.model.config_json import is_known, positions_of
from mlx_trace.model.prompts import Prompter
from mlx_trace.notice import tell

_SHOWN: Final = 60  # characters of a question in a message


class Decoder:
    """A model that replies to questions, `width` of them at once. `engine.refresh` once its weights have changed."""

    def __init__(
        self, base: Base, prompter: Prompter, decoding: Decoding, width: int = WIDTH, keep: int | None = None
    ) -> None:
        self.prompter, self.decoding, self.name = prompter, decoding, base.name
        self.positions = positions_of(base.config)
        self._has_told = False
        if not is_known(base.config):
            check_rows(base.network, base.name)
        vocabulary = vocabulary_of(base.tokenizer) if decoding.constraint == "scope" else None
        self.engine = Engine(base.network, prompter.stop_ids, vocabulary, prompter.prefix, decoding.cap, width, keep)

    def check(self, max_tokens: int) -> None:
        """Raise UserError if so few tokens hold no trace."""
        if self.engine.vocabulary is not None:
            Automaton(self.engine.vocabulary, None, max_tokens)

    def sample(
        self, questions: Sequence[str], max_tokens: int, num_samples: int = 1, temperature: float = 0.0, seed: int = 0,
        streams: Sequence[int] | None = None,
    ) -> list[Episode]:  # fmt: skip
        """Sample `num_samples` replies to each question, beside one another; greedily at temperature 0.

        `streams`, a number a question, name the random streams; by default a question's is its number.
        """
        requests = self._requests(questions, max_tokens)
        if streams is not None:
            requests = [replace(one, stream=stream) for one, stream in zip(requests, streams, strict=True)]
        return self.engine.sample(requests, max_tokens, num_samples, temperature, seed)

    def finished(self, questions: Sequence[str], max_tokens: int) -> Iterator[Episode]:
        """Reply to each question greedily, yielding episodes as they finish; `prompt` is the question's number."""
        return self.engine.finished(self._requests(questions, max_tokens), max_tokens)

    def stream(self, question: str, max_tokens: int) -> Iterator[Episode]:
        """Reply to a question greedily, yielding the episode whenever it has grown."""
        return self.engine.stream(self._requests([question], max_tokens)[0], max_tokens)

    def _requests(self, questions: Sequence[str], max_tokens: int) -> list[Request]:
        is_hard = self.decoding.constraint == "scope" and self.decoding.grounding == "hard"
        prompts = [self.prompter.ids(question) for question in questions]
        self._check_positions(questions, prompts, max_tokens)
        return [Request(ids, grounded_numbers(question) if is_hard else None)
                for question, ids in zip(questions, prompts, strict=True)]  # fmt: skip

    def _check_positions(self, questions: Sequence[str], prompts: Sequence[Sequence[int]], max_tokens: int) -> None:
        """Refuse prompts that go beyond the model's positions, and say so once if a long reply would."""
        if self.positions is None or not prompts:
            return
        longest = max(map(len, prompts))
        if longest >= self.positions:
            question = next(q for q, ids in zip(questions, prompts, strict=True) if len(ids) == longest)
            raise UserError(f"a prompt of {longest:,} tokens, and {self.name} was made for {self.positions:,}: "
                            f"{question[:_SHOWN]!r}…")  # fmt: skip
        if longest + max_tokens > self.positions and not self._has_told:
            self._has_told = True
            left = self.positions - longest
            tell(f"{self.name} was made for {self.positions:,} tokens: a reply may be worse after {left:,} of its "
                 f"{max_tokens:,}")  # fmt: skip
