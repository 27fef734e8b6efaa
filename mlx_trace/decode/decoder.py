"""Questions → episodes: the one way in which rollouts, evaluation and chat let a model reply.

Takes a loaded base, its prompter and the decoding settings. Knows nothing of answers.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Final

import mlx.core as mx

from mlx_trace.config import GPU_SECONDS
from mlx_trace.config_decoding import Decoding
from mlx_trace.decode.engine import MAX_SEQUENCES, Engine
from mlx_trace.decode.episode import Episode, Request
from mlx_trace.decode.forward import check_rows
from mlx_trace.decode.grammar.automaton import Automaton
from mlx_trace.decode.grammar.rules import rules_for
from mlx_trace.decode.grammar.vocabulary import vocabulary_of
from mlx_trace.decode.params import SamplingParams
from mlx_trace.decode.scheduler import Scheduler
from mlx_trace.errors import UserError
from mlx_trace.language.knowledge import grounded_numbers
from mlx_trace.model.base import Base, check_finite
from mlx_trace.model.bursts import wired
from mlx_trace.model.config_json import is_known, positions_of
from mlx_trace.model.prompts import Prompter
from mlx_trace.notice import tell

_SHOWN: Final = 60  # characters of a question in a message


class Decoder:
    """A model that replies to questions, `max_sequences` of them at once. `refresh` once its weights have changed.

    With `cached_layer`, the activations (N, D) that go into that layer are kept, for training to go on from. A GPU with
    a display is given `gpu_seconds` of work at once.
    """

    def __init__(
        self, base: Base, prompter: Prompter, decoding: Decoding, max_sequences: int = MAX_SEQUENCES,
        cached_layer: int | None = None, gpu_seconds: float = GPU_SECONDS,
    ) -> None:  # fmt: skip
        self.prompter, self.decoding, self.name = prompter, decoding, base.name
        self.max_sequences, self.positions = max_sequences, positions_of(base.config)
        self._has_told = False
        check_finite(base)
        if not is_known(base.config):
            check_rows(base.network, base.name)
        vocabulary = vocabulary_of(base.tokenizer) if decoding.constraint == "scope" else None
        self.engine = Engine(base.network, prompter.stop_ids, vocabulary, prompter.prefix,
                             decoding.max_tokens_per_pass, max_sequences, cached_layer,
                             prompter.prompt.trace_form, gpu_seconds)  # fmt: skip
        self.masks = self.engine.masks

    def check(self, max_tokens: int) -> None:
        """Raise UserError if so few tokens hold no trace."""
        if self.engine.vocabulary is not None:
            Automaton(self.engine.vocabulary, None, max_tokens, form=self.engine.form)

    def check_request(self, request: Request, max_tokens: int) -> None:
        """Raise UserError if so few tokens hold no trace with the numbers of a question."""
        self.engine.automaton(request, max_tokens)

    def refresh(self) -> None:
        """Forget what was computed with other weights."""
        self.engine.refresh()

    def probed_headroom(self, batch_size: int) -> int:
        """Return how many tokens take as long as a pass by itself: as it is settled, or else timed on this device."""
        return self.engine.headroom or self.engine.probe(batch_size)

    def settle_passes(self, headroom: int | None) -> None:
        """Weigh passes by that many tokens from now on; None: by what the first one that is weighed is timed to be."""
        self.engine.headroom = headroom

    def sample(
        self, questions: Sequence[str], params: SamplingParams, streams: Sequence[int] | None = None
    ) -> list[Episode]:
        """Sample `params.n` replies to each question, beside one another.

        `streams`, a number a question, name the random streams; by default a question's is its number.
        """
        with self.wired():
            return self.engine.sample(self._requests(questions, params, streams), params)

    def finished(
        self, questions: Sequence[str], params: SamplingParams, streams: Sequence[int] | None = None,
        prompts: Sequence[Sequence[int]] | None = None,
    ) -> Iterator[Episode]:  # fmt: skip
        """Reply to each question, yielding episodes as they finish; `prompt` is the question's number.

        `prompts` are ids that ask the questions in conversations; what replies are held to is the questions' alone.
        """
        requests = self._requests(questions, params, streams, prompts)
        return self._wired(self.engine.finished(requests, params))

    def stream(self, question: str, params: SamplingParams, prompt: Sequence[int] | None = None) -> Iterator[Episode]:
        """Reply to a question, yielding the episode whenever it has grown; `prompt` are ids that ask it otherwise."""
        prompts = None if prompt is None else [prompt]
        return self._wired(self.engine.stream(self._requests([question], params, prompts=prompts)[0], params))

    def _wired(self, episodes: Iterator[Episode]) -> Iterator[Episode]:
        with self.wired():
            yield from episodes

    def wired(self) -> AbstractContextManager[None]:
        """Keep the network from being paged out for as long as passes run, on Metal."""
        return wired(self.engine.network)

    def open(self) -> Scheduler:
        """Return a scheduler without requests: they come, each with settings of its own, while others are decoded."""
        return self.engine.open()

    def schedule(self, questions: Sequence[str], params: SamplingParams) -> Scheduler:
        """Return a scheduler that replies to questions, all alike, whose passes the caller runs."""
        return Scheduler.of(self.engine, self._asked(questions, self._prompts(questions)), params)

    def request(self, question: str, params: SamplingParams) -> Request:
        """Return the request of a question that is asked by itself; UserError if it cannot be asked so."""
        return self._requests([question], params, [0])[0]

    def activations(self) -> mx.array:
        """Return the cached activations (N, D) of all that was read since `refresh`; episodes hold their indexes."""
        cached = self.engine.activations
        return mx.zeros((0, 0)) if cached is None else cached.states()

    @property
    def prefix_activations(self) -> Sequence[int]:
        """Return the indexes of the activations of what all prompts begin with."""
        return self.engine.prefix_activations

    def _requests(
        self, questions: Sequence[str], params: SamplingParams, streams: Sequence[int] | None = None,
        prompts: Sequence[Sequence[int]] | None = None,
    ) -> list[Request]:  # fmt: skip
        prompts = self._prompts(questions) if prompts is None else prompts
        self._check_positions(questions, prompts, params.max_tokens)
        return self._asked(questions, prompts, streams)

    def _prompts(self, questions: Sequence[str]) -> list[list[int]]:
        return [self.prompter.ids(question) for question in questions]

    def _asked(
        self, questions: Sequence[str], prompts: Sequence[Sequence[int]], streams: Sequence[int] | None = None
    ) -> list[Request]:
        """Return prompts as requests, each held to what its question grounds."""
        is_hard = self.decoding.constraint == "scope" and self.decoding.grounding == "hard"
        named: Sequence[int | None] = streams or [None] * len(questions)
        rules = self.decoding.chosen_rules
        return [Request(ids, grounded_numbers(question) if is_hard else None, stream, rules_for(question, rules))
                for question, ids, stream in zip(questions, prompts, named, strict=True)]  # fmt: skip

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
