"""What callers pass as arguments, checked before anything is loaded or written: UserError names the argument."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_trace.errors import UserError


def path_of(value: Any, name: str) -> str:
    """Return a name or path as text; UserError if it is neither."""
    if not isinstance(value, str | Path):
        raise UserError(f"{name} is a {type(value).__name__}, not a name or a path")
    return str(value)


def check_fields_told(fields: Any) -> None:
    """Refuse what does not say our fields by theirs."""
    if fields is not None and not isinstance(fields, Mapping):
        raise UserError(f"fields is a {type(fields).__name__}, not our fields with theirs: {{'question': 'Text'}}")


def check_report(report: Any) -> None:
    """Refuse a report that cannot be called."""
    if not callable(report):
        raise UserError(f"report is a {type(report).__name__}, not a function")
