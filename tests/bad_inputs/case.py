"""A case of bad input: what lies in a folder, a command line, and what has to come of it. One entry, one case."""

import errno
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from mlx_trace.notice import safe

LONGEST = 40  # seconds, on a machine that is busy with something else


@dataclass(frozen=True)
class Ground:
    """Where a case happens: an empty folder, and sound things to be spoilt, which are copied into it."""

    folder: Path
    model: Path
    run: Path

    def copy(self, source: Path, name: str) -> Path:
        """Put a copy of a sound thing into the folder."""
        return Path(shutil.copytree(source, self.folder / name))


Make = Callable[[Ground], None]


@dataclass(frozen=True)
class Case:
    """`said` is a regular expression for standard error, `out` for standard output (None: nothing may be there).

    `leaves` names what may be new in the folder; all else has to be as it was.
    """

    name: str
    command: str | Sequence[str]
    said: str
    made: Make | Sequence[Make] = ()
    code: int = 2
    out: str | None = None
    leaves: Sequence[str] = ()
    lines: int | None = 1  # of standard error; None where others may come before the last
    stdin: bytes = b""


@dataclass(frozen=True)
class Came:
    """What came of a case."""

    code: int
    out: str
    err: str


def prepare(case: Case, ground: Ground) -> None:
    """Make what a case needs."""
    for make in [case.made] if callable(case.made) else case.made:
        make(ground)


def state_of(folder: Path) -> dict[str, bytes | str]:
    """Return every file's content, every link's target, and every folder, by path."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_bytes() if os.access(path, os.R_OK) else "unreadable"
        else:
            found[name] = "folder" if path.is_dir() else "other"
    return found


def is_plain(text: str) -> bool:
    """Tell whether a terminal can only show a text; rich's own colours are not asked for where there is no terminal."""
    return safe(text) == text


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Fail where something takes too long, rather than wait for it."""

    def end(_: int, __: FrameType | None) -> None:
        raise AssertionError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# --- what is made ------------------------------------------------------------------------------------------------


def file(name: str, content: str | bytes) -> Make:
    """A file of that content."""

    def make(ground: Ground) -> None:
        path = ground.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))

    return make


def folder(name: str, mode: int = 0o755) -> Make:
    """An empty folder."""
    return lambda ground: (ground.folder / name).mkdir(mode, parents=True)


def pipe(name: str) -> Make:
    """A named pipe that nobody writes to."""
    return lambda ground: os.mkfifo(ground.folder / name)


def link(name: str, target: str) -> Make:
    """A link."""
    return lambda ground: (ground.folder / name).symlink_to(target)


def merged(path: Path, changes: dict[str, object]) -> None:
    """Change keys of a JSON file; a key whose value is ... goes."""
    content = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    kept = {key: value for key, value in content.items() if value is not ...}
    path.write_text(json.dumps(kept), encoding="utf-8")


def model(name: str = "m", **config: object) -> Make:
    """A sound model's folder, with keys of its config.json changed."""
    return lambda ground: merged(ground.copy(ground.model, name) / "config.json", config)


def model_file(path: str, content: str | bytes, name: str = "m") -> Make:
    """A sound model's folder, one of whose files has another content."""

    def make(ground: Ground) -> None:
        ground.copy(ground.model, name)
        file(f"{name}/{path}", content)(ground)

    return make


def edited(path: str, edit: Callable[[bytes], bytes]) -> Make:
    """A change to a file that was made before."""

    def make(ground: Ground) -> None:
        place = ground.folder / path
        place.write_bytes(edit(place.read_bytes()))

    return make


def run(name: str = "run", **config: object) -> Make:
    """A sound run of the sound model, with keys of its adapter_config.json changed."""
    return lambda ground: merged(ground.copy(ground.run, name) / "adapter_config.json", config)


def without(path: str) -> Make:
    """One file less."""
    return lambda ground: (ground.folder / path).unlink()


def no_space(*_: object, **__: object) -> None:
    """What a full disk says."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
