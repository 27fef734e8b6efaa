"""Ask a model word problems: the trace as it is written, then what the solver makes of it; or several, and their vote.

Takes a decoder; yields or returns what happens, and says it as JSON has it. A question without a number is refused.
Knows nothing of terminals.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mlx_trace.errors import UserError
from mlx_trace.evaluate.repair import Turn, conversation
from mlx_trace.evaluate.usage import unused
from mlx_trace.evaluate.vote import Ballot, Vote, cast
from mlx_trace.language.grade import Grade, grade
from mlx_trace.language.mentions import find_numbers
from mlx_trace.language.syntax import NoTrace, parse

if TYPE_CHECKING:  # what asks needs no network's library before there is a model
    from mlx_trace.decode.decoder import Decoder
    from mlx_trace.decode.episode import Episode
    from mlx_trace.decode.params import SamplingParams

_MOST_ANSWERS: Final = 3  # that a vote shows beside the one that wins


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's answer to a question: the text it wrote, and its grade, which without an expected answer is `solved`
    or says what went wrong. `unused` are the numbers of the question that an answer does not depend on, as written."""

    text: str
    grade: Grade
    tokens: int
    truncated: bool
    unused: tuple[str, ...] = ()


def ask(decoder: "Decoder", question: str, params: "SamplingParams") -> Iterator[str | Reply]:
    """Yield the reply's text as it grows, then the `Reply`."""
    check(question)
    return _written(decoder, question, decoder.stream(question, params))


def repair(
    decoder: "Decoder", question: str, failed: Sequence[Reply], params: "SamplingParams"
) -> Iterator[str | Reply]:
    """Give replies without an answer, one after another, back with the solver's words; yield what `ask` does."""
    turns = [Turn(reply.text, reply.grade, 0, reply.tokens, 0, reply.truncated, 0.0) for reply in failed]
    said, before = conversation(question, turns)
    return _written(decoder, question, decoder.stream(question, params, decoder.prompter.ids(said, before)))


def _written(decoder: "Decoder", question: str, episodes: "Iterator[Episode]") -> Iterator[str | Reply]:
    shown = text = ""
    for episode in episodes:
        text = decoder.prompter.decode(episode.ids)
        if more := settled(text, shown):
            yield more
            shown += more
    yield reply_to(question, text, episode)


def settled(text: str, shown: str) -> str:
    """Return what is sure to follow what has been shown of a text that still grows.

    What may begin the closing fence waits for the rest, and so does a character without all its bytes.
    """
    sure = text.rstrip("`").rstrip("\n")
    return sure[len(shown) :] if sure.startswith(shown) and not sure.endswith("\ufffd") else ""


def poll(decoder: "Decoder", question: str, params: "SamplingParams") -> tuple[Reply, Vote]:
    """Sample `params.n` replies; return the one that speaks for the answer that wins, and the vote."""
    *_, result = polling(decoder, question, params)
    assert not isinstance(result, Vote)
    return result


def polling(decoder: "Decoder", question: str, params: "SamplingParams") -> Iterator[Vote | tuple[Reply, Vote]]:
    """Yield the vote whenever one more of `params.n` replies has come, then what `poll` returns."""
    check(question)
    episodes: dict[int, Episode] = {}
    ballots: dict[int, Ballot] = {}
    known: dict[str, Ballot] = {}  # of equal texts the first is run
    vote = Vote(())
    for episode in decoder.finished([question], params):
        text = decoder.prompter.decode(episode.ids)
        known[text] = known.get(text) or cast(question, [text])[0]
        episodes[episode.number], ballots[episode.number] = episode, known[text]
        vote = Vote([ballots[number] for number in sorted(ballots)])
        yield vote
    speaker = episodes[vote.speaker]
    yield reply_to(question, decoder.prompter.decode(speaker.ids), speaker), vote


def check(question: str) -> None:
    """Refuse a question that states no number: a model held to traces would make an answer up."""
    if not find_numbers(question):
        raise UserError("there is nothing to compute: no number is stated")


def reply_to(question: str, text: str, episode: "Episode") -> Reply:
    """Grade the text of an episode."""
    graded, trace = grade(text), parse(text)
    left: tuple[str, ...] = ()
    if graded.answer is not None and not isinstance(trace, NoTrace):
        left = tuple(question[mention.start : mention.end] for mention in unused(question, trace))
    return Reply(text, graded, len(episode.ids), episode.truncated, left)


def as_row(question: str, reply: Reply, vote: Vote | None) -> dict[str, Any]:
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


def say_vote(vote: Vote) -> str:
    """Return how far samples agree, in words: 6 of 8 say 12, 1 says 7, 1 has no answer."""
    n, heaviest = len(vote.ballots), vote.winner
    if heaviest is None:
        return f"none of {n} replies has an answer"
    counts = [len(candidate.samples) for candidate in vote.candidates]
    first, *others = [f"{count} {'say' if count > 1 else 'says'} {candidate}" for count, candidate in
                      zip(counts, vote.candidates, strict=True)]  # fmt: skip
    shown = [first.replace(" ", f" of {n} ", 1), *others[:_MOST_ANSWERS]]
    if left := sum(counts[1 + _MOST_ANSWERS :]):
        shown.append(f"{left} say{'' if left > 1 else 's'} something else")
    if silent := n - sum(counts):
        shown.append(f"{silent} {'have' if silent > 1 else 'has'} no answer")
    split = "the vote is split: " if vote.is_split else ""
    outvoted = " (the first uses more of the question's numbers)" if max(counts) > counts[0] else ""
    return f"{split}{', '.join(shown)}{outvoted}"
