"""What was asked in earlier conversations: a file for its owner's eyes alone, of bounded size, that may be missing."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from mlx_trace.errors import why
from mlx_trace.notice import is_text, tell

MOST_BYTES: Final = 256 * 1024  # of the file, before the older half is forgotten
LONGEST: Final = 4_000  # characters of a question that is remembered beyond the conversation


class AskedHistory(FileHistory):
    """Questions in a file; what cannot be written is remembered for this conversation alone."""

    def load_history_strings(self) -> Iterable[str]:
        """Return what was asked before, the newest first; nothing once the file cannot be read any more."""
        with contextlib.suppress(OSError):
            return super().load_history_strings()
        return []

    def store_string(self, string: str) -> None:
        """Write a question down, unless it is too long, or no text."""
        if is_text(string) and len(string) <= LONGEST:
            with contextlib.suppress(OSError):
                super().store_string(string)


def open_history(path: Path) -> History:
    """Return the history that a file holds, made if there is none; one without a file if that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(handle, "r+b") as file:
            os.fchmod(file.fileno(), 0o600)
            if os.fstat(file.fileno()).st_size > MOST_BYTES:
                file.seek(-MOST_BYTES // 2, os.SEEK_END)
                kept = file.read().partition(b"\n\n# ")[2]
                file.seek(0)
                file.truncate()
                file.write(b"\n# " + kept if kept else b"")
    except OSError as error:
        tell(f"{path}: {why(error)}; questions are not remembered beyond this conversation")
        return InMemoryHistory()
    return AskedHistory(str(path))
