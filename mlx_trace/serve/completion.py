"""One chat completion as it goes over the wire: whole, or as server-sent events whose pieces joined are the whole."""

import json
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from mlx_trace.model.prompts import OPENING
from mlx_trace.serve.answers import Json, choices_of, refused_choice
from mlx_trace.serve.inquiry import Inquiry
from mlx_trace.serve.ticket import Ticket, Timeout
from mlx_trace.serve.worker import Begun, Done, Event, Piece, Unasked

_END: Final = "data: [DONE]\n\n"


def as_json(value: Any) -> str:
    """Return JSON that holds no character which could act anywhere."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


class Completion:
    """A request's answer under one id."""

    def __init__(self, inquiry: Inquiry, model: str) -> None:
        self.inquiry = inquiry
        self.head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": model}
        self._sent: dict[int, str] = {}  # of each choice's content

    def whole(self, last: Done | Unasked) -> Json:
        """Return the completion in one."""
        return self.head | {"object": "chat.completion", "choices": self._choices(last), "usage": _usage(last)}

    def _choices(self, last: Done | Unasked) -> list[Json]:
        return choices_of(self.inquiry, last) if isinstance(last, Done) else [refused_choice(self.inquiry, last.reason)]

    def chunks(self, event: Event) -> list[Json]:
        """Return the chunks that tell of an event."""
        if isinstance(event, Piece):
            return [self._said(event.number, event.text if event.number in self._sent else OPENING + event.text)]
        if isinstance(event, Begun):
            return []
        chunks = []
        for choice in self._choices(event):
            index = choice["index"]
            if rest := choice["message"]["content"].removeprefix(self._sent.get(index, "")):
                chunks.append(self._said(index, rest))
            ending = {"finish_reason": choice["finish_reason"], "mlx_trace": choice["mlx_trace"]}
            chunks.append(self._chunk([{"index": index, "delta": {}, "logprobs": None} | ending]))
        if self.inquiry.include_usage:
            chunks.append(self._chunk([]) | {"usage": _usage(event)})
        return chunks

    def _said(self, index: int, text: str) -> Json:
        role = {} if index in self._sent else {"role": "assistant"}
        self._sent[index] = self._sent.get(index, "") + text
        return self._chunk(
            [{"index": index, "delta": role | {"content": text}, "logprobs": None, "finish_reason": None}]
        )

    def _chunk(self, choices: list[Json]) -> Json:
        usage = {"usage": None} if self.inquiry.include_usage else {}
        return self.head | {"object": "chat.completion.chunk", "choices": choices} | usage


def _usage(last: Done | Unasked) -> Json:
    prompt, completion = (last.prompt_tokens, last.completion_tokens) if isinstance(last, Done) else (0, 0)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


async def events(completion: Completion, ticket: Ticket, first: Event) -> AsyncIterator[str]:
    """Yield server-sent events until the job ends; an error on the way is one, too."""
    event = first
    try:
        while True:
            if isinstance(event, Unasked) and not event.is_answer:
                yield _broken(event.reason)
                return
            for chunk in completion.chunks(event):
                yield f"data: {as_json(chunk)}\n\n"
            if isinstance(event, Done | Unasked):
                yield _END
                return
            event = await ticket.next()
    except Timeout:
        yield _broken("the reply was not done in time")


def _broken(reason: str) -> str:
    return f"data: {as_json({'error': {'message': reason, 'type': 'server_error', 'param': None, 'code': None}})}\n\n"
