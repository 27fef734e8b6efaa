"""JSON of others is read in one place, where it is an error however it is broken."""

from pathlib import Path

import pytest

import mlx_trace
from mlx_trace.json_text import json_fault, parse_json

OWN = {
    "json_text.py",
    "kept.py",
    "describe.py",
    "ranks.py",
    "text.py",
}  # the place itself, and what this process wrote a moment ago


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a":' * 100_000, "9" * 5000, b"\xff\xff", '{"a": 1} x'])
def test_what_is_no_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(text)


def test_what_a_hook_refuses_is_passed_on() -> None:
    def refuse(_: object) -> None:
        raise ValueError("twice")

    with pytest.raises(ValueError, match="twice"):
        parse_json("{}", object_pairs_hook=refuse)
    assert parse_json("[1, 2.5]", parse_float=str) == [1, "2.5"]


def test_the_package_reads_it_nowhere_else() -> None:
    files = [path for path in Path(mlx_trace.__file__).parent.rglob("*.py") if path.name not in OWN]
    assert [path.name for path in files if "json.loads(" in path.read_text(encoding="utf-8")] == []


def test_a_raw_tab_is_told_with_how_it_is_written_and_where() -> None:
    with pytest.raises(ValueError) as error:
        parse_json('{"a": "b\tc"}')
    assert json_fault(error.value) == (
        r"Invalid control character (in a text a tab is \t, and a line ends with \n) at column 9"
    )
