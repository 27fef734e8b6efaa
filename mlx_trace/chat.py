"""Ask a model word problems: the trace as it is written, then what the solver makes of it; or several, and their vote.

Takes a decoder; yields or returns what happens. A question without a number is refused. Knows nothing of terminals.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlx_trace.decode.decoder import Decoder
from mlx_trace.decode.episode import Episode
from mlx_trace.decode.params import SamplingParams
from mlx_trace.errors import UserError
from mlx_trace.evaluate.usage import unused
from mlx_trace.evaluate.vote import Vote, cast
from mlx_trace.language.grade import Grade, grade
from mlx_trace.language.mentions import find_numbers
from mlx_trace.language.syntax import NoTrace, parse


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's answer to a question: the text it wrote, and its grade, which without an expected answer is `solved`
    or says what went wrong. `unused` are the numbers of the question that an answer does not depend on, as written."""

    text: str
    grade: Grade
    tokens: int
    truncated: bool
    unused: tuple[str, ...] = ()


def ask(decoder: Decoder, question: str, params: SamplingParams) -> Iterator[str | Reply]:
    """Yield the reply's text as it grows, then the `Reply`."""
    check(question)
    shown = ""
    for episode in decoder.stream(question, params):
        text = decoder.prompter.decode(episode.ids)
        settled = text.rstrip("`").rstrip("\n")  # what may begin the closing fence waits for the rest
        if settled.startswith(shown) and not settled.endswith("\ufffd"):  # so does a character without all its bytes
            if len(settled) > len(shown):
                yield settled[len(shown) :]
            shown = settled
    yield _reply(question, text, episode)


def poll(decoder: Decoder, question: str, params: SamplingParams) -> tuple[Reply, Vote]:
    """Sample `params.n` replies; return the one that speaks for the answer that wins, and the vote."""
    check(question)
    episodes: Sequence[Episode] = decoder.sample([question], params)
    texts = [decoder.prompter.decode(episode.ids) for episode in episodes]
    vote = Vote(cast(question, texts))
    return _reply(question, texts[vote.speaker], episodes[vote.speaker]), vote


def check(question: str) -> None:
    """Refuse a question that states no number: a model held to traces would make an answer up."""
    if not find_numbers(question):
        raise UserError("there is nothing to compute: no number is stated")


def _reply(question: str, text: str, episode: Episode) -> Reply:
    graded, trace = grade(text), parse(text)
    left: tuple[str, ...] = ()
    if graded.answer is not None and not isinstance(trace, NoTrace):
        left = tuple(question[mention.start : mention.end] for mention in unused(question, trace))
    return Reply(text, graded, len(episode.ids), episode.truncated, left)
