"""Model: a network with its adapter, to be asked from Python. `load` makes one, of the same names as the commands.

A model belongs to the thread that loaded it, as MLX's arrays do: calls from others are refused, in a line.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import get_ident
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, get_args, overload

from pydantic import ValidationError

from mlx_trace.api.arguments import path_of
from mlx_trace.api.loading import ModelChoice, load_chosen
from mlx_trace.api.quiet import quietly
from mlx_trace.api.reply import ModelReply
from mlx_trace.config import SEEDS, VOTING_TEMPERATURE, Dtype
from mlx_trace.config_decoding import Decoding, Rule
from mlx_trace.config_reinforce import MAX_TOKENS
from mlx_trace.config_sources import HOTTEST, MOST, MOST_SAMPLES
from mlx_trace.errors import UserError
from mlx_trace.faults import faults_of
from mlx_trace.notice import is_text
from mlx_trace.resources import expanded

if TYPE_CHECKING:
    from mlx_trace.decode.decoder import Decoder
    from mlx_trace.decode.params import SamplingParams
    from mlx_trace.model.base import Base
    from mlx_trace.model.prompts import Prompter


class DecodingSettings(TypedDict, total=False):
    """What replies are held to, as the configuration's `decoding` has it; all rules unless it is said."""

    constraint: Literal["none", "scope"]
    grounding: Literal["off", "hard"]
    rules: Literal["off", "all"] | list[Rule]
    max_tokens_per_pass: int | Literal["auto", "probe"]


def decoding_of(settings: Mapping[str, Any]) -> Decoding:
    """Return checked settings; UserError with every fault."""
    if unknown := [key for key in settings if key not in Decoding.model_fields]:
        raise UserError(f"there is no {', '.join(unknown)}; decoding has {', '.join(Decoding.model_fields)}")
    try:
        return Decoding.model_validate({"rules": "all", **settings})
    except ValidationError as error:
        raise UserError(*faults_of(error, "decoding")) from None


def sampling_of(samples: int, temperature: float | None, max_tokens: int, seed: int) -> "SamplingParams":
    """Return how replies are sampled; UserError with every fault."""
    from mlx_trace.decode.params import SamplingParams

    faults = [f"{name} is {value!r}, not a whole number from {least} to {most:,}" for name, value, least, most in
              (("samples", samples, 1, MOST_SAMPLES), ("max_tokens", max_tokens, 1, MOST),
               ("seed", seed, 0, SEEDS - 1)) if type(value) is not int or not least <= value <= most]  # fmt: skip
    if temperature is not None and not (type(temperature) in (int, float) and 0 <= temperature <= HOTTEST):
        faults.append(f"temperature is {temperature!r}, not a number from 0 to {HOTTEST:.0f}")
    if not faults and samples > 1 and temperature == 0:
        faults.append(
            f"samples is {samples}: at temperature 0 all replies are one; {VOTING_TEMPERATURE} is the default"
        )
    if faults:
        raise UserError(*faults)
    if temperature is None:
        temperature = VOTING_TEMPERATURE if samples > 1 else 0.0
    return SamplingParams(max_tokens, float(temperature), samples, seed)


@dataclass(repr=False, eq=False)
class Model:
    """A model that replies to word problems. `adapter_path` is what was put into it; None for a model as it is."""

    base: "Base"
    prompter: "Prompter"
    adapter_path: Path | None
    _thread: int = field(default_factory=get_ident)
    _decoders: dict[tuple[str, int], "Decoder"] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the base's name."""
        return self.base.name

    @quietly
    def ask(
        self, question: str, *, samples: int = 1, temperature: float | None = None, max_tokens: int = MAX_TOKENS,
        seed: int = 0, **decoding: Unpack[DecodingSettings],
    ) -> ModelReply:  # fmt: skip
        """Answer one question: greedily, or of several samples as they vote. UserError where it states no number."""
        from mlx_trace.chat import check, poll, reply_to

        params = sampling_of(samples, temperature, max_tokens, seed)
        asked = _checked(question)
        check(asked)
        decoder = self._decoder(decoding_of(decoding), params)
        if samples > 1:
            return ModelReply(asked, *poll(decoder, asked, params))
        (episode,) = decoder.sample([asked], params)
        return ModelReply(asked, reply_to(asked, decoder.prompter.decode(episode.ids), episode))

    @overload
    def sample(  # type: ignore[overload-overlap]  # a string is a sequence of strings, and means itself
        self, questions: str, n: int = 1, *, temperature: float = 1.0, max_tokens: int = MAX_TOKENS, seed: int = 0,
        batch_size: int | None = None, **decoding: Unpack[DecodingSettings],
    ) -> list[ModelReply]: ...  # fmt: skip

    @overload
    def sample(
        self, questions: Sequence[str], n: int = 1, *, temperature: float = 1.0, max_tokens: int = MAX_TOKENS,
        seed: int = 0, batch_size: int | None = None, **decoding: Unpack[DecodingSettings],
    ) -> list[list[ModelReply]]: ...  # fmt: skip

    @quietly
    def sample(
        self, questions: str | Sequence[str], n: int = 1, *, temperature: float = 1.0, max_tokens: int = MAX_TOKENS,
        seed: int = 0, batch_size: int | None = None, **decoding: Unpack[DecodingSettings],
    ) -> list[ModelReply] | list[list[ModelReply]]:  # fmt: skip
        """Sample n replies to each question, decoded beside one another: of one question a list, of several lists.

        `batch_size` replies are decoded at once; it decides memory and speed, not the replies. Temperature 0 is greedy.
        """
        from mlx_trace.chat import check, reply_to
        from mlx_trace.decode.engine import MAX_SEQUENCES

        params = sampling_of(n, temperature, max_tokens, seed)
        if not isinstance(questions, Iterable):
            raise UserError(f"questions is a {type(questions).__name__}, not a question or several")
        asked = [_checked(question) for question in ([questions] if isinstance(questions, str) else questions)]
        for question in asked:
            check(question)
        decoder = self._decoder(decoding_of(decoding), params, batch_size or MAX_SEQUENCES)
        episodes = decoder.sample(asked, params)
        replies = [ModelReply(asked[episode.prompt], reply_to(asked[episode.prompt], text, episode))
                   for episode in episodes for text in [decoder.prompter.decode(episode.ids)]]  # fmt: skip
        groups = [replies[start : start + n] for start in range(0, len(replies), n)]
        return groups[0] if isinstance(questions, str) else groups

    def check_thread(self) -> None:
        """Refuse a thread in which the model's arrays are not."""
        if get_ident() != self._thread:
            raise UserError(f"{self.name} was loaded in another thread, and a model is asked in its own; load it there")

    def _decoder(self, decoding: Decoding, params: "SamplingParams", at_once: int | None = None) -> "Decoder":
        """Return a decoder for so many replies at once; it is made once, and serves again."""
        from mlx_trace.decode.decoder import Decoder
        from mlx_trace.decode.engine import MAX_SEQUENCES

        self.check_thread()
        if at_once is not None and (type(at_once) is not int or at_once < 1):
            raise UserError(f"batch_size is {at_once!r}, not a whole number from 1")
        at_once = at_once or min(params.n, MAX_SEQUENCES)
        key = (decoding.model_dump_json(), at_once)
        decoder = self._decoders.pop(key, None)
        if decoder is None:
            decoder = Decoder(self.base, self.prompter, decoding, max_sequences=at_once)
        decoder.check(params.max_tokens)
        self._decoders.clear()  # one is kept: each holds a cache
        self._decoders[key] = decoder
        return decoder

    def __repr__(self) -> str:
        with_adapter = "" if self.adapter_path is None else f", adapter_path={str(self.adapter_path)!r}"
        return f"Model({self.name!r}{with_adapter})"


def _checked(question: str) -> str:
    """Return a question on one line; UserError if it is nothing, or no text."""
    if not isinstance(question, str):
        raise UserError(f"a question is text, not a {type(question).__name__}")
    if not is_text(question):
        raise UserError("the question is not text that UTF-8 can write")
    asked = " ".join(question.split())
    if not asked:
        raise UserError("the question is empty")
    return asked


@quietly
def load(
    model: str | Path | None = None, adapter_path: str | Path | None = None, *, dtype: Dtype = "auto",
    any_base: bool = False, trust_remote_code: bool = False,
) -> Model:  # fmt: skip
    """Load a model: a name such as `tiny` or `smollm2-135m`, a folder, a GGUF file, or a hub name, and its adapter.

    The adapter is a run's folder, any of mlx-lm's, or "none"; without one, that of the model's name, trained here or
    bundled. Without a model it is the adapter's base, and without either the bundled tiny one. Nothing is printed.

    >>> import mlx_trace
    >>> model = mlx_trace.load("tiny")
    >>> reply = model.ask("I had 20 eggs and sold 4 of them. How many are left?")
    >>> reply.answer
    '16'
    >>> reply.numbers_used
    ['20', '4']
    """
    from mlx_trace.model.prompts import Prompter

    if dtype not in get_args(Dtype):
        raise UserError(f"dtype is {dtype!r}, not one of {', '.join(get_args(Dtype))}")
    named = None if model is None else path_of(model, "model")
    path = None if adapter_path is None else expanded(path_of(adapter_path, "adapter_path"))
    choice = ModelChoice(named, path, dtype, any_base, trust_remote_code)
    base, prompt, settled = load_chosen(choice)
    return Model(base, Prompter(base.tokenizer, prompt), settled)
