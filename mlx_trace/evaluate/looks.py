"""How often a final split was looked at: each evaluation that showed its counts is a line of a file in the cache.

A set is known by its questions, so that a copy under another name, and a sample, count as looks at the same set.
"""

import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mlx_trace.errors import UserError, why
from mlx_trace.evaluate.suites import EVERYDAY, SUITES
from mlx_trace.files import locked
from mlx_trace.json_text import parse_json
from mlx_trace.notice import tell
from mlx_trace.problems.hub_data import is_hub_data
from mlx_trace.resources import cache_dir

_FILE: Final = "looks.jsonl"
_TEST: Final = re.compile(r"(?i)(?:^|[^a-z])test(?:[^a-z]|$)")


def is_final(name: str) -> bool:
    """Tell whether a set is for final numbers, as a file or a split of the hub says that is called test."""
    if name in SUITES or name == EVERYDAY:
        return False
    path = Path(name)
    return _TEST.search(name if is_hub_data(path) else path.stem) is not None


def look(digest: str, told: dict[str, Any]) -> int:
    """Note that a set was looked at, with what is told of the evaluation; return how often that makes.

    Where the cache cannot be written to, that is told, and the look is counted but not noted.
    """
    file = cache_dir() / _FILE
    try:
        with locked(file.with_name(f".{_FILE}.lock"), f"{file}: waiting for another process"):
            before = _looks(file, digest)
            when = datetime.now(UTC).isoformat(timespec="seconds")
            with file.open("a", encoding="utf-8") as handle:
                handle.write(json.dumps({"set": digest, "when": when, **told}, ensure_ascii=False) + "\n")
    except (OSError, UserError) as error:
        tell(f"{file}: {why(error) if isinstance(error, OSError) else error}; this look at the set is not noted")
        before = _looks(file, digest)
    return before + 1


def _looks(file: Path, digest: str) -> int:
    """Return how many lines tell of a set; a line that was cut off tells of none."""
    count = 0
    with suppress(OSError):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, AttributeError):
                count += parse_json(line).get("set") == digest
    return count
