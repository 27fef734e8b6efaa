"""A request's body → what is asked: the question, how replies are sampled, and in what form they are wanted.

What cannot be honoured is a `Refusal` that names the parameter. Knows nothing of HTTP's workings or of models.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from mlx_trace.config import SEEDS, VOTING_TEMPERATURE
from mlx_trace.config_serve import MOST_CHOICES
from mlx_trace.config_sources import HOTTEST
from mlx_trace.decode.params import SamplingParams
from mlx_trace.errors import meant
from mlx_trace.faults import in_words
from mlx_trace.json_text import parse_json
from mlx_trace.model.prompts import LONGEST
from mlx_trace.notice import is_text
from mlx_trace.serve.parameters import asks_for_nothing, is_known, refusal_of

_ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")
_MOST_MESSAGES: Final = 2000
_SEEDS_IN_JSON: Final = 1 << 53  # whole numbers that every client reads exactly
_SHOWN: Final = 60  # characters of what is refused
_UNSET: Final = {"max_tokens": -1, "max_completion_tokens": -1, "seed": -1}  # what llama.cpp and LM Studio say for none


class Refusal(Exception):
    """A request that is not served: why, because of which parameter, and OpenAI's word for it."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.message, self.param, self.code, self.status = message, param, code, status


class StreamOptions(BaseModel):
    """What a stream says beside its choices."""

    model_config = ConfigDict(extra="ignore", strict=True)
    include_usage: bool | None = None


Most = Annotated[int, Field(ge=1)] | None
Stop = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class ChatBody(BaseModel):
    """What can be honoured of a chat completion's parameters, and `samples`: a vote of so many replies."""

    model_config = ConfigDict(extra="forbid", strict=True)

    messages: list[Any] = Field(min_length=1, max_length=_MOST_MESSAGES)
    model: str | None = None
    n: int | None = Field(None, ge=1, le=MOST_CHOICES)
    samples: int | None = Field(None, ge=1, le=MOST_CHOICES)
    temperature: float | None = Field(None, ge=0, le=HOTTEST, allow_inf_nan=False)
    max_tokens: Most = None
    max_completion_tokens: Most = None
    seed: Annotated[int, Field(ge=0, lt=SEEDS)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """What a server has: its model's name, and how replies are sampled unless a request says otherwise."""

    model: str
    max_tokens: int
    samples: int = 1
    temperature: float | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A question, and how it is to be answered; `unread` are the messages that are not part of it."""

    question: str
    params: SamplingParams
    is_vote: bool
    stops: tuple[str, ...]
    streams: bool
    include_usage: bool
    unread: int
    limit: str | None = None  # which parameter bounds a reply's tokens; the server's own flag if none does


def read_inquiry(data: bytes, served: Served) -> Inquiry:
    """Return what a body asks for; Refusal if it cannot be served."""
    body = _validated(_object(data))
    if body.model is not None and body.model not in ("", served.model):
        raise no_such_model(body.model, served)
    if body.stream_options is not None and not body.stream:
        raise Refusal("stream_options: only with stream: true", "stream_options")
    question, unread = _question(body.messages)
    params, is_vote = _sampling(body, served)
    stops = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    usage = body.stream_options is not None and bool(body.stream_options.include_usage)
    return Inquiry(question, params, is_vote, stops, bool(body.stream), usage, unread, _limit(body, params))


def no_such_model(name: str, served: Served) -> Refusal:
    """Return what is said to who asks for another model than is served."""
    words = f"there is no model {name[:_SHOWN]!r}; the one that is served is {served.model!r}"
    return Refusal(words, "model", "model_not_found", 404)


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = parse_json(data)
    except ValueError as error:
        raise Refusal(f"the body is not JSON: {' '.join(str(error).split())[:_SHOWN]}", code="invalid_json") from None
    if not isinstance(value, dict):
        raise Refusal("the body is not a JSON object")
    return value


def _validated(given: dict[str, Any]) -> ChatBody:
    given = {key: value for key, value in given.items() if value is not None and _UNSET.get(key) != value}
    for key in given:
        if key not in ChatBody.model_fields:
            _check_neutral(key, given)
    try:
        return ChatBody.model_validate({key: given[key] for key in given if key in ChatBody.model_fields})
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        nested = fault["loc"][0] == "stream_options"  # others are named whole: behind them stand kinds of values
        param = ".".join(map(str, fault["loc"] if nested else fault["loc"][:1]))
        raise Refusal(f"{param}: {in_words(fault)}", param, "invalid_value") from None


def _check_neutral(key: str, given: dict[str, Any]) -> None:
    """Refuse what is not known, or would change replies in a way that they cannot be changed in."""
    shown = key[:_SHOWN]
    if not is_known(key):
        hint = meant(shown, ChatBody.model_fields)
        raise Refusal(f"{shown}: there is no such parameter here; {hint}".strip("; "), shown, "unknown_parameter")
    if not asks_for_nothing(key, given):
        raise Refusal(f"{key}: {refusal_of(key)}", key, "unsupported_parameter")


def _question(messages: Sequence[Any]) -> tuple[str, int]:
    """Return what the last turn asks, on one line, and how many messages are not part of it."""
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            raise Refusal(f"messages[{index}]: an object with a role, one of {', '.join(_ROLES)}",
                          f"messages[{index}].role")  # fmt: skip
    first = len(messages)
    while first and messages[first - 1]["role"] == "user":
        first -= 1
    if first == len(messages):
        raise Refusal("messages: the last one is the question, and has the role user", "messages")
    texts = [_text(messages[index].get("content"), f"messages[{index}].content")
             for index in range(first, len(messages))]  # fmt: skip
    question = " ".join(" ".join(texts).split())
    if not question:
        raise Refusal("messages: there is no question in the last one", "messages")
    if len(question) > LONGEST:
        raise Refusal(f"messages: a question of {len(question):,} characters, and those that are asked have "
                      f"{LONGEST:,} at most", "messages", "context_length_exceeded")  # fmt: skip
    return question, first


def _text(content: Any, param: str) -> str:
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(parts, list):
        raise Refusal(f"{param}: text, or a list of text parts", param)
    for index, part in enumerate(parts):
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise Refusal(f"{param}[{index}]: not a text part; a trace answers text alone", f"{param}[{index}]")
    text = " ".join(part["text"] for part in parts)
    if "\0" in text or not is_text(text):
        raise Refusal(f"{param}: holds NUL or half a character, and is no text", param)
    return text


def _sampling(body: ChatBody, served: Served) -> tuple[SamplingParams, bool]:
    """Return how replies are sampled, and whether they vote."""
    n, samples = body.n or 1, body.samples or 1
    if n > 1 and samples > 1:
        raise Refusal("samples: of a vote there is one choice; n has to be 1", "samples")
    if body.samples is None and n == 1 and body.temperature != 0:
        samples = served.samples
    count = max(n, samples)
    temperature = served.temperature if body.temperature is None else body.temperature
    if temperature is None:
        temperature = VOTING_TEMPERATURE if count > 1 else 0.0
    if samples > 1 and temperature == 0:
        raise Refusal(f"temperature: at 0 all {samples} samples are one", "temperature", "invalid_value")
    seed = served.seed if body.seed is None else body.seed
    if seed is None:
        seed = secrets.randbelow(_SEEDS_IN_JSON) if temperature else 0
    return SamplingParams(_max_tokens(body, served), temperature, count, seed), samples > 1


def _max_tokens(body: ChatBody, served: Served) -> int:
    given = {value for value in (body.max_tokens, body.max_completion_tokens) if value is not None}
    if len(given) > 1:
        raise Refusal("max_completion_tokens: max_tokens says something else", "max_completion_tokens", "invalid_value")
    return min(given | {served.max_tokens})


def _limit(body: ChatBody, params: SamplingParams) -> str | None:
    given = {"max_completion_tokens": body.max_completion_tokens, "max_tokens": body.max_tokens}
    return next((name for name, most in given.items() if most == params.max_tokens), None)
