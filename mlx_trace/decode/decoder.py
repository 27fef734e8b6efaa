"""Questions → episodes: the one way in which rollouts, evaluation and chat let a model reply.

Takes a loaded base, its prompter and the decoding settings. Knows nothing of answers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from mlx_trace.config import Decoding
from mlx_trace.decode.automaton import Automaton
from mlx_trace.decode.engine import WIDTH, Engine
from mlx_trace.decode.episode import Episode, Request
from mlx_trace.decode.vocabulary import vocabulary_of
from mlx_trace.language.knowledge import grounded_numbers
from mlx_trace.model.base import Base
from mlx_trace.model.prompts import Prompter


class Decoder:
    """A model that replies to questions, `width` of them at once. `engine.refresh` once its weights have changed."""

    def __init__(
        self, base: Base, prompter: Prompter, decoding: Decoding, width: int = WIDTH, keep: int | None = None
    ) -> None:
        self.prompter, self.decoding = prompter, decoding
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
        requests = self._requests(questions)
        if streams is not None:
            requests = [replace(one, stream=stream) for one, stream in zip(requests, streams, strict=True)]
        return self.engine.sample(requests, max_tokens, num_samples, temperature, seed)

    def finished(self, questions: Sequence[str], max_tokens: int) -> Iterator[Episode]:
        """Reply to each question greedily, yielding episodes as they finish; `prompt` is the question's number."""
        return self.engine.finished(self._requests(questions), max_tokens)

    def stream(self, question: str, max_tokens: int) -> Iterator[Episode]:
        """Reply to a question greedily, yielding the episode whenever it has grown."""
        return self.engine.stream(self._requests([question])[0], max_tokens)

    def _requests(self, questions: Sequence[str]) -> list[Request]:
        is_hard = self.decoding.constraint == "scope" and self.decoding.grounding == "hard"
        return [Request(self.prompter.ids(q), grounded_numbers(q) if is_hard else None) for q in questions]
