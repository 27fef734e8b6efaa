"""Ask a model word problems: the trace as it is written, then what the solver makes of it.

Takes a decoder; yields what happens. Knows nothing of terminals.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from mlx_trace.decode.decoder import Decoder
from mlx_trace.decode.params import SamplingParams
from mlx_trace.language.grade import Grade, grade


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's answer to a question: the text it wrote, and its grade, which without an expected answer is `solved`
    or says what went wrong."""

    text: str
    grade: Grade
    tokens: int
    truncated: bool


def ask(decoder: Decoder, question: str, max_tokens: int) -> Iterator[str | Reply]:
    """Yield the reply's text as it grows, then the `Reply`."""
    shown = ""
    for episode in decoder.stream(question, SamplingParams(max_tokens)):
        text = decoder.prompter.decode(episode.ids)
        settled = text.rstrip("`").rstrip("\n")  # what may begin the closing fence waits for the rest
        if settled.startswith(shown) and not settled.endswith("\ufffd"):  # so does a character without all its bytes
            if len(settled) > len(shown):
                yield settled[len(shown) :]
            shown = settled
    yield Reply(text, grade(text), len(episode.ids), episode.truncated)
