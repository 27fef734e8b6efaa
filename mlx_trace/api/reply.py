"""ModelReply: what a model answers to a question, as programs and notebooks read it.

Takes a reply and, of several samples, their vote. Knows nothing of networks.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from mlx_trace.api import html
from mlx_trace.language.grade import GradeKind
from mlx_trace.language.ledger import LedgerLine, ledger
from mlx_trace.language.numbers import read_numeral
from mlx_trace.language.syntax import NoTrace, parse
from mlx_trace.notice import safe

if TYPE_CHECKING:
    from mlx_trace.chat import Reply
    from mlx_trace.evaluate.vote import Vote

_SHOWN = 60  # characters of a question


@dataclass(frozen=True, slots=True, repr=False)
class ModelReply:
    """A model's reply to a question: of several samples the one that speaks for the answer that wins, and the vote."""

    question: str
    reply: "Reply"
    vote: "Vote | None" = None

    @property
    def answer(self) -> str | None:
        """Return what the solver computed, exactly, as `16`, `0.25` or `1/3`; None where the trace does not run."""
        return self.reply.grade.answer

    @property
    def value(self) -> Fraction | None:
        """Return the answer as a number."""
        return None if self.answer is None else read_numeral(self.answer)

    @property
    def trace(self) -> str:
        """Return the text that the model wrote."""
        return self.reply.text

    @property
    def kind(self) -> GradeKind:
        """Return `solved`, or what is wrong with the trace: `invalid_trace` or `parse_failure`."""
        return self.reply.grade.kind

    @property
    def detail(self) -> str:
        """Return in words why there is no answer; nothing where there is one."""
        return "" if self.answer is not None else self.reply.grade.detail

    @property
    def steps(self) -> list[LedgerLine]:
        """Return the trace's steps, each in words with the values it leaves, up to one that fails."""
        trace = parse(self.trace)
        return [] if isinstance(trace, NoTrace) else ledger(trace)

    @property
    def numbers_used(self) -> list[str]:
        """Return the question's numbers on which the answer depends, as they are written there."""
        from mlx_trace.evaluate.usage import amounts, unused

        trace = parse(self.trace)
        if isinstance(trace, NoTrace) or self.answer is None:
            return []
        left = unused(self.question, trace)
        return [self.question[amount.start : amount.end] for amount in amounts(self.question) if amount not in left]

    @property
    def numbers_unused(self) -> list[str]:
        """Return the question's numbers that the answer does without."""
        return list(self.reply.unused)

    @property
    def agreement(self) -> float | None:
        """Return the share of the samples that say the answer; None where there is only one."""
        return None if self.vote is None else float(self.vote.agreement)

    @property
    def votes(self) -> dict[str, int]:
        """Return how many samples say each answer, the winner first."""
        return {} if self.vote is None else {str(said): len(said.samples) for said in self.vote.candidates}

    @property
    def is_split(self) -> bool:
        """Tell whether no more than half of the samples say the answer."""
        return self.vote is not None and self.vote.is_split

    def as_row(self) -> dict[str, Any]:
        """Return what `mlx-trace ask --json` prints."""
        from mlx_trace.chat import as_row

        return as_row(self.question, self.reply, self.vote)

    def __str__(self) -> str:
        return safe(self.answer if self.answer is not None else f"no answer: {self.detail}")

    def __repr__(self) -> str:
        told = "" if self.agreement is None else f", agreement={self.agreement:.2f}"
        return safe(f"ModelReply(answer={self.answer!r}, kind={self.kind!r}{told}, question={self._shown!r})")

    @property
    def _shown(self) -> str:
        return self.question if len(self.question) <= _SHOWN else f"{self.question[: _SHOWN - 1]}…"

    def _repr_html_(self) -> str:
        from mlx_trace.chat import say_vote

        parts = [html.paragraph(self.question), html.steps(self.steps)]
        parts.append(html.paragraph(f"= {self}" if self.answer is not None else str(self), "font-weight:bold"))
        parts += [html.paragraph(say_vote(self.vote))] if self.vote is not None else []
        parts += [html.paragraph(f"not used: {', '.join(self.numbers_unused)}")] if self.numbers_unused else []
        return f"<div>{''.join(parts)}</div>"
