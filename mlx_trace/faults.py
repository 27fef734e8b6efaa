"""What pydantic finds wrong with something that was read, and where in its file, in the words that people are told."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from mlx_trace.errors import meant
from mlx_trace.yaml_text import LineColumn, YamlText

FIRST: Final = LineColumn(0, 0)  # of a fault that stands in no file
_SHOWN: Final = 60  # characters of a value


def in_words(fault: Any) -> str:
    """Return one fault in words, with the value got."""
    message = str(fault["msg"]).removeprefix("Value error, ")
    message = "input should be keys with values" if fault["type"] == "model_type" else message
    if fault["type"] == "extra_forbidden":
        return "there is no such key"
    got = fault.get("input")
    is_hidden = isinstance(got, dict | list | BaseModel) or fault["type"] == "missing"
    return message[0].lower() + message[1:] + ("" if is_hidden else f", got {_shown(got)}")


def _shown(value: Any) -> str:
    """Return a value as it was written: text in quotes, which tell it from a number."""
    text = str(value)[:_SHOWN]
    return repr(text) if isinstance(value, str) else text.lower() if isinstance(value, bool) else text


def unknown_key(hint: str, known: Iterable[str]) -> str:
    """Say that there is no such key, and which is meant, or which there are."""
    return f"there is no such key; {hint.strip() or 'those here are ' + ', '.join(known)}"


def near_key(key: str, known: Sequence[str]) -> str:
    """Say that there is no such key among those that are known, and which is near."""
    return unknown_key(meant(key, known), known)


def located(where: str, place: LineColumn | None, keys: Sequence[str]) -> str:
    """Return where a fault stands: `FILE:LINE:COLUMN: KEY`, as far as that is known."""
    key = ".".join(keys)
    return (f"{where}:{place}" if place else where) + (f": {key}" if key else "")


def faults_of(
    error: ValidationError, where: str, read: YamlText | None = None, explain: Callable[[Any], str] = in_words
) -> list[str]:
    """Return a line for every fault: the place, the key, and what is wrong with its value; in the order of the file."""
    faults = []
    for fault in error.errors(include_url=False):
        keys = tuple(str(part) for part in fault["loc"])
        place = None if read is None else read.place(keys)
        faults.append((place or FIRST, f"{located(where, place, keys)}: {explain(fault)}"))
    return [fault for _, fault in sorted(faults, key=lambda told: told[0])]
