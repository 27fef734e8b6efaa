"""Where something is written to: refused where that is what is read."""

import os
from collections.abc import Iterable
from pathlib import Path

from mlx_trace.errors import UserError
from mlx_trace.files import is_stream


def check_apart(output: Path, sources: Iterable[Path]) -> None:
    """Refuse to write over a file that is read, or over one in a folder that is."""
    if is_stream(output) or not output.exists():
        return
    for source in sources:
        if not source.exists():
            continue
        if source.samefile(output) or (source.is_dir() and _is_within(output, source)):
            raise UserError(f"{output}: is read, and cannot be written to, too")


def _is_within(path: Path, folder: Path) -> bool:
    return os.path.realpath(path).startswith(os.path.realpath(folder) + os.sep)
