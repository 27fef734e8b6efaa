"""What a model makes of a question, for people or as JSON: the ledger, the answer, and how far it can be trusted."""

import contextlib
from typing import TYPE_CHECKING, Any, Final

from mlx_trace.cli.ledger import print_ledger
from mlx_trace.language.syntax import NoTrace, parse

if TYPE_CHECKING:
    from mlx_trace.chat import Reply
    from mlx_trace.cli.screen import Screen
    from mlx_trace.decode.decoder import Decoder
    from mlx_trace.decode.params import SamplingParams
    from mlx_trace.evaluate.vote import Vote

_MOST_ANSWERS: Final = 3  # that a vote shows beside the one that wins
ROW: Final = (
    '{"question", "trace", "kind", "answer", "detail", "unused"}, with several samples also "samples", "agreement", '
    '"split" and "votes"'
)  # that is printed as JSON


def answer(
    decoder: "Decoder", question: str, params: "SamplingParams", console: "Screen | None"
) -> "tuple[Reply, Vote | None]":
    """Return what the model makes of a question: one reply, shown on a console as it grows, or several and a vote."""
    from mlx_trace.chat import Reply, ask, poll

    if params.n > 1:
        with console.status(f"{params.n} replies") if console and console.is_terminal else contextlib.nullcontext():
            return poll(decoder, question, params)
    for event in ask(decoder, question, params):
        if isinstance(event, Reply):
            return event, None
        if console:
            console.print(event, end="", style="dim", soft_wrap=True)
    raise RuntimeError("the reply ended without a grade")


def as_row(question: str, reply: "Reply", vote: "Vote | None") -> dict[str, Any]:
    """Return an answered question, as JSON has it."""
    row = {"question": question, "trace": reply.text, "kind": reply.grade.kind, "answer": reply.grade.answer,
           "detail": reply.grade.detail, "unused": reply.unused}  # fmt: skip
    if vote is None:
        return row
    return row | {"samples": len(vote.ballots), "agreement": round(float(vote.agreement), 4), "split": vote.is_split,
                  "votes": vote.as_json()}  # fmt: skip


def as_refused_row(question: str, reason: str) -> dict[str, Any]:
    """Return a question that cannot be asked, as JSON has it."""
    return {"question": question, "trace": "", "kind": "parse_failure", "answer": None, "detail": reason, "unused": ()}


def show_reply(console: "Screen", reply: "Reply", vote: "Vote | None") -> None:
    """Print the ledger and the answer, how far the samples agree, and which numbers the answer does without."""
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
        console.print(f"this answer does not use {', '.join(reply.unused)}", style="yellow")


def say_vote(vote: "Vote") -> str:
    """Return how far samples agree, in words: 6 of 8 say 12, 1 says 7, 1 has no answer."""
    n, heaviest = len(vote.ballots), vote.winner
    if heaviest is None:
        return f"none of {n} replies has an answer"
    counts = [len(one.samples) for one in vote.candidates]
    first, *others = [f"{count} {'say' if count > 1 else 'says'} {one}" for count, one in
                      zip(counts, vote.candidates, strict=True)]  # fmt: skip
    shown = [first.replace(" ", f" of {n} ", 1), *others[:_MOST_ANSWERS]]
    if left := sum(counts[1 + _MOST_ANSWERS :]):
        shown.append(f"{left} say{'' if left > 1 else 's'} something else")
    if silent := n - sum(counts):
        shown.append(f"{silent} {'have' if silent > 1 else 'has'} no answer")
    split = "the vote is split: " if vote.is_split else ""
    outvoted = " (the first uses more of the question's numbers)" if max(counts) > counts[0] else ""
    return f"{split}{', '.join(shown)}{outvoted}"
