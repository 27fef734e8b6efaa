"""Replies → what a chat completion holds: the trace and the answer in words, and `mlx_trace`, the same for programs.

Takes what was asked and what the worker made of it; returns JSON's values. Knows nothing of HTTP.
"""

from collections.abc import Sequence
from typing import Any, Final

from mlx_trace.chat import Reply, as_refused_row, as_row, say_vote
from mlx_trace.evaluate.usage import amounts, unused
from mlx_trace.evaluate.vote import Vote
from mlx_trace.language.ledger import ledger
from mlx_trace.language.syntax import NoTrace, Trace, parse
from mlx_trace.model.prompts import CLOSING, OPENING
from mlx_trace.serve.inquiry import Inquiry
from mlx_trace.serve.stops import cut
from mlx_trace.serve.worker import Done

Json = dict[str, Any]
_UNANSWERED: Final = "\n\n"  # between the trace and what is said of it


def choices_of(inquiry: Inquiry, done: Done) -> list[Json]:
    """Return a completion's choices, each with its `mlx_trace`."""
    return [{"index": index, "message": {"role": "assistant", "content": content_of(inquiry, done, index)},
             "logprobs": None, "finish_reason": "length" if reply.truncated else "stop",
             "mlx_trace": _for_programs(inquiry, reply, done.vote)}
            for index, reply in enumerate(done.replies)]  # fmt: skip


def refused_choice(inquiry: Inquiry, reason: str) -> Json:
    """Return the one choice where there is nothing to compute."""
    content = f"{reason[0].upper()}{reason[1:]}.{_unread(inquiry)}"
    shown = as_refused_row(inquiry.question, reason)
    return {"index": 0, "message": {"role": "assistant", "content": content}, "logprobs": None,
            "finish_reason": "stop", "mlx_trace": _whole(inquiry, shown)}  # fmt: skip


def content_of(inquiry: Inquiry, done: Done, index: int) -> str:
    """Return a choice's text, up to a stop sequence; the fence that opens the trace is not searched for one."""
    reply = done.replies[index]
    if done.stopped[index]:
        return OPENING + reply.text
    body = f"{reply.text}{CLOSING}{_UNANSWERED}{_in_words(reply, done.vote)}{_unread(inquiry)}"
    return OPENING + (body if (end := cut(body, inquiry.stops)) is None else end)


def _in_words(reply: Reply, vote: Vote | None) -> str:
    """Return the answer for people."""
    said = "" if vote is None else say_vote(vote)
    said = said and f" {said[0].upper()}{said[1:]}."
    if reply.grade.answer is None:
        cut_off = " (it was cut off; max_tokens allows more)" if reply.truncated else ""
        return f"There is no answer: {reply.grade.detail}{cut_off}.{said}"
    certainty = "may be" if vote is not None and vote.is_split else "is"
    left = f" This answer does not use {', '.join(reply.unused)}." if reply.unused else ""
    return f"The answer {certainty} {reply.grade.answer}.{said}{left}"


def _unread(inquiry: Inquiry) -> str:
    if not inquiry.unread:
        return ""
    others = "The message before this one was" if inquiry.unread == 1 else f"The {inquiry.unread} messages before were"
    return f"\n\n({others} not read: a trace answers one question, by itself.)"


def _for_programs(inquiry: Inquiry, reply: Reply, vote: Vote | None) -> Json:
    row, trace = as_row(inquiry.question, reply, vote), parse(reply.text)
    if isinstance(trace, NoTrace):
        return _whole(inquiry, row)
    steps = [{"part": line.part + 1, "expert": trace.parts[line.part].expert if line.part < len(trace.parts) else None,
              "step": line.step + 1, "said": line.said, "values": line.values, "fault": line.fault or None}
             for line in ledger(trace)]  # fmt: skip
    return _whole(inquiry, row, steps, _numbers(inquiry.question, trace) if reply.grade.answer is not None else ())


def _numbers(question: str, trace: Trace) -> list[Json]:
    """Return where the numbers of a question stand, and whether the answer of a trace that ran depends on them."""
    left = unused(question, trace)
    return [{"start": amount.start, "end": amount.end, "used": amount not in left} for amount in amounts(question)]


def _whole(inquiry: Inquiry, row: Json, steps: Sequence[Json] = (), numbers: Sequence[Json] = ()) -> Json:
    seed = inquiry.params.seed if inquiry.params.temperature else None
    return row | {"steps": steps, "numbers": numbers, "seed": seed, "unread": inquiry.unread}
