"""What a notebook shows of results: small tables of HTML, in which whatever is foreign is text and nothing else."""

import html
from collections.abc import Iterable, Sequence
from typing import Final

from mlx_trace.language.ledger import LedgerLine
from mlx_trace.notice import safe

_CELL: Final = "text-align:left;padding:1px 12px 1px 0"


def escaped(value: object) -> str:
    """Return a value as text of HTML, without what a terminal or a page would act on."""
    return html.escape(safe(str(value)))


def paragraph(text: str, style: str = "") -> str:
    """Return a paragraph of text."""
    return f'<p style="{escaped(style)}">{escaped(text)}</p>' if style else f"<p>{escaped(text)}</p>"


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table of text, without a head where headings are empty."""
    head = "".join(f'<th style="{_CELL}">{escaped(heading)}</th>' for heading in headings)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table>{head and f'<thead><tr>{head}</tr></thead>'}<tbody>{body}</tbody></table>"


def _cell(value: object) -> str:
    return f'<td style="{_CELL}">{escaped(value)}</td>'


def steps(lines: Sequence[LedgerLine]) -> str:
    """Return a trace's steps with their values, and why one failed."""
    return table((), ((line.step + 1, line.said, line.fault or ", ".join(line.values.values())) for line in lines))
