"""What pydantic finds wrong with something that was read, in the words that people are told."""

from typing import Any

from pydantic import BaseModel, ValidationError

_SHOWN = 60  # characters of a value


def faults_of(error: ValidationError, where: str) -> list[str]:
    """Return a line for every fault: the place, the key, and what is wrong with its value."""
    faults = []
    for fault in error.errors(include_url=False):
        key = ".".join(str(part) for part in fault["loc"])
        faults.append(f"{where}: {key}{': ' * bool(key)}{in_words(fault)}")
    return faults


def in_words(fault: Any) -> str:
    """Return one fault in words, with the value got."""
    message = str(fault["msg"]).removeprefix("Value error, ")
    message = "input should be keys with values" if fault["type"] == "model_type" else message
    if fault["type"] == "extra_forbidden":
        return "there is no such key"
    got = fault.get("input")
    is_hidden = isinstance(got, dict | list | BaseModel) or fault["type"] == "missing"
    return message[0].lower() + message[1:] + ("" if is_hidden else f", got {str(got)[:_SHOWN]!r}")
