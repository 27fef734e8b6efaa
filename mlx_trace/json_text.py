"""JSON that someone else wrote: what it says, or a ValueError, be it nested however deep."""

import json
from typing import Any, Final

_DIGITS: Final = "Exceeds the limit"  # as Python says of a whole number of thousands of them


def parse_json(text: str | bytes, **hooks: Any) -> Any:
    """Return what JSON says; ValueError if it is none, or more than can be read. `hooks` are `json.loads`'s."""
    try:
        return json.loads(text, **hooks)
    except RecursionError:
        raise ValueError("too deep") from None
    except ValueError as error:
        if str(error).startswith(_DIGITS):
            raise ValueError("a number is too long") from None
        raise


def json_fault(error: ValueError) -> str:
    """Return in words why a text is no JSON, and the column where that can be said."""
    if not isinstance(error, json.JSONDecodeError):
        return str(error)
    message = error.msg.removesuffix(" at")
    hint = r" (in a text a tab is \t, and a line ends with \n)" if message == "Invalid control character" else ""
    return f"{message}{hint} at column {error.colno}"
