"""What commands print: text and JSON as they stand, whoever wrote them; and what they read from standard input.

Nothing here needs rich, which takes a tenth of a second to import.
"""

import argparse
import contextlib
import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TextIO

from mlx_trace.errors import UserError
from mlx_trace.files import is_stream
from mlx_trace.notice import safe, safe_json, tell

MARK: Final = "\ufeff"  # that some editors put before a text


def drop_output(stream: TextIO) -> None:
    """Let what is still to be written to a stream go nowhere, or the flush at exit would complain."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def show(text: str = "", flush: bool = False) -> None:
    """Print text to stdout as it stands."""
    print(safe(text), flush=flush)


def show_json(value: Any, flush: bool = False) -> None:
    """Print one line of JSON to stdout."""
    print(safe_json(json.dumps(value, ensure_ascii=False)), flush=flush)


def read_path(text: str) -> Path:
    """Return a path; one without a name would mean the current folder, which nobody wrote."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


def output_file(text: str) -> Path:
    """Return the file that -o names; - is standard output."""
    return Path("/dev/stdout") if text == "-" else read_path(text)


def shower(output: Path) -> Callable[[str], None]:
    """Return what prints a command's summary: to stderr where its output goes to a stream, such as stdout itself."""
    return tell if is_stream(output) else show


def as_word(name: object) -> str:
    """Return a path or a name as it stands in a command that somebody may copy: in quotes where a shell wants them."""
    return shlex.quote(str(name))


def standard_input() -> TextIO:
    """Return standard input; UserError if this process was started without one."""
    stream: TextIO | None = sys.stdin
    if stream is None or stream.closed:
        raise UserError("standard input is closed, so that nothing can be read from it")
    return stream
