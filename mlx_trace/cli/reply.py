"""What a model makes of a question, for people or as JSON: the ledger, the answer, and how far it can be trusted."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from mlx_trace.cli.ledger import print_ledger
from mlx_trace.language.syntax import NoTrace, parse

if TYPE_CHECKING:
    from mlx_trace.chat import Reply
    from mlx_trace.cli.screen import Screen
    from mlx_trace.decode.decoder import Decoder
    from mlx_trace.decode.params import SamplingParams
    from mlx_trace.evaluate.vote import Vote

ROW: Final = (
    '{"question", "trace", "kind", "answer", "detail", "unused"}, with several samples also "samples", "agreement", '
    '"split" and "votes"'
)  # that is printed as JSON
_MOST_UNUSED: Final = 20  # that are named


def answer(
    decoder: "Decoder", question: str, params: "SamplingParams", console: "Screen | None"
) -> "tuple[Reply, Vote | None]":
    """Return what the model makes of a question: one reply, shown on a console as it grows, or several and a vote."""
    from mlx_trace.chat import ask, polling

    if params.n > 1:
        return follow_vote(polling(decoder, question, params), params.n, console)
    return follow(ask(decoder, question, params), console), None


def follow(events: "Iterator[str | Reply]", console: "Screen | None") -> "Reply":
    """Return the reply that events end with, its text shown on a console as it grows."""
    for event in events:
        if not isinstance(event, str):
            return event
        if console:
            console.print(event, end="", style="dim", soft_wrap=True)
    raise RuntimeError("the reply ended without a grade")


def follow_vote(
    events: "Iterator[Vote | tuple[Reply, Vote]]", samples: int, console: "Screen | None"
) -> "tuple[Reply, Vote]":
    """Return the vote that events end with; a terminal is told meanwhile how many replies there are."""
    with console.status("") if console and console.is_terminal else contextlib.nullcontext() as status:
        for event in events:
            if isinstance(event, tuple):
                return event
            if status:
                status.update(f"{len(event.ballots)} of {samples} replies")
    raise RuntimeError("the vote ended without a reply")


def show_reply(console: "Screen", reply: "Reply", vote: "Vote | None") -> None:
    """Print the ledger and the answer, how far the samples agree, and which numbers the answer does without."""
    from mlx_trace.chat import say_vote

    console.print("\n" if vote is None else "")
    trace = parse(reply.text)
    if isinstance(trace, NoTrace):
        cut = " (it was cut off; --max-tokens allows more)" if reply.truncated else ""
        console.print(f"no trace: {reply.grade.detail}{cut}", style="bold red")
    else:
        print_ledger(console, trace)
        if reply.grade.answer is not None:
            console.print(f"= {reply.grade.answer}", style="bold green")
    if vote is not None:
        console.print(say_vote(vote), style="yellow" if vote.is_split or vote.winner is None else "")
    if reply.unused:
        console.print(without(reply.unused), style="yellow")


def without(unused: Sequence[str]) -> str:
    """Say which numbers of the question an answer does not depend on."""
    left = f" and {len(unused) - _MOST_UNUSED} more" if len(unused) > _MOST_UNUSED else ""
    return f"this answer does not use {', '.join(unused[:_MOST_UNUSED])}{left}"
