"""Ask a model word problems: the trace as it is written, then what the solver makes of it.

Takes a loaded base; yields what happens. Knows nothing of terminals.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from mlx_trace.decode.engine import stream
from mlx_trace.language.grade import Grade, grade
from mlx_trace.model.base import Base
from mlx_trace.model.prompts import Prompter


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's answer to a question: the text it wrote, and its grade, which without an expected answer is `solved`
    or says what went wrong."""

    text: str
    grade: Grade
    tokens: int
    truncated: bool


def ask(base: Base, prompter: Prompter, question: str, max_tokens: int) -> Iterator[str | Reply]:
    """Yield the reply's text as it grows, then the `Reply`."""
    shown = ""
    tokens, truncated = 0, False
    for episode in stream(base.network, prompter.ids(question), prompter.stop_ids, max_tokens):
        text = prompter.decode(episode.ids).rstrip("\n")  # a newline waits for what it begins
        if not text.startswith(shown) or text.endswith("�"):
            continue  # a character whose bytes are not all there yet
        if len(text) > len(shown):
            yield text[len(shown) :]
            shown = text
        tokens, truncated = len(episode.ids), len(episode.ids) >= max_tokens
    yield Reply(shown, grade(shown), tokens, truncated)
