"""A run's folder: what in it is the run's own, by exact names; who holds it; how it is begun and read again.

Nothing is removed but what is the run's own, nothing through a link, and no folder that holds anything else.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from mlx_trace.config import Config
from mlx_trace.config_file import dump_config, validate_config
from mlx_trace.errors import UserError
from mlx_trace.files import read_text, try_lock, unreadable, write_atomically
from mlx_trace.model.adapter import ADAPTER_WEIGHTS, adapter_config
from mlx_trace.model.base import Base
from mlx_trace.model.chat_template import CHAT_TEMPLATE, stock_template_or_none
from mlx_trace.run_files import ADAPTER_CONFIG, BEST, CONFIG_FILE, METRICS_FILE, PROGRESS, SAMPLES_FILE, STATE
from mlx_trace.setting import setting
from mlx_trace.yaml_text import read_yaml

PLAN_FILE: Final = "plan.json"
ARRAYS: Final = ("adapter.safetensors", "optimizer.safetensors", "extra.safetensors")
_LOCK: Final = "lock"
_REPLACED: Final = (CONFIG_FILE, PLAN_FILE, ADAPTER_CONFIG, CHAT_TEMPLATE)  # files that are written aside, and renamed
_HALF: Final = re.compile(rf"\.({'|'.join(map(re.escape, _REPLACED))})\.\w+\.tmp|\.adapters\.tmp\.safetensors")
_NUMBERED: Final = re.compile(r"[0-9]{7,}")
_OF_SYSTEM: Final = (".DS_Store",)  # what a Finder window leaves
_KEYS: Final = {"model", "adapter_path", "fine_tune_type", "reinforce"}  # that every run's configuration has


# --- what is the run's own -------------------------------------------------------------------------------------


def is_numbered(path: Path) -> bool:
    """Tell whether this is a checkpoint's folder by its name, and no link."""
    return bool(_NUMBERED.fullmatch(path.name)) and path.is_dir() and not path.is_symlink()


def is_half_saved(path: Path) -> bool:
    """Tell whether this is a folder in which a checkpoint was being written, and no link."""
    return path.suffix == ".tmp" and bool(_NUMBERED.fullmatch(path.stem)) and path.is_dir() and not path.is_symlink()


def remove_checkpoint(folder: Path) -> None:
    """Remove a checkpoint's files, and its folder unless it holds anything else; a link is left alone."""
    if not folder.is_symlink():
        _remove(folder, (*ARRAYS, PROGRESS))


def _remove(folder: Path, names: tuple[str, ...]) -> None:
    with suppress(OSError):
        for name in names:
            (folder / name).unlink(missing_ok=True)
        if {path.name for path in folder.iterdir()} <= set(_OF_SYSTEM):
            for name in _OF_SYSTEM:
                (folder / name).unlink(missing_ok=True)
            folder.rmdir()


def sweep(run: Path) -> None:
    """Remove what a process that was killed had half written, but for checkpoints, which `tidy` sees to."""
    for folder in (run, run / BEST):
        for path in folder.iterdir() if folder.is_dir() and not folder.is_symlink() else ():
            if _HALF.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                path.unlink(missing_ok=True)


def check_own(run: Path) -> None:
    """Refuse a run whose parts are links, or whose checkpoints' folders hold anything else."""
    parts = (run / STATE, run / STATE / _LOCK, run / BEST, run / METRICS_FILE, run / SAMPLES_FILE)
    faults = [f"{path}: is a link, and a run writes and removes only in its own folder" for path in parts
              if path.is_symlink()]  # fmt: skip
    if not faults and (run / STATE).is_dir():
        faults = [f"{path}: is not mlx-trace's, and stands where checkpoints do; move it elsewhere"
                  for path in sorted((run / STATE).iterdir())
                  if _NUMBERED.fullmatch(path.name.removesuffix(".tmp")) and not _is_checkpoint(path)]  # fmt: skip
    if faults:
        raise UserError(*faults)


def _is_checkpoint(path: Path) -> bool:
    """Tell whether a path is a folder with a checkpoint's files, or some of them, and no others."""
    if path.is_symlink() or not path.is_dir():
        return False
    return {file.name for file in path.iterdir()} <= {*ARRAYS, PROGRESS, *_OF_SYSTEM}


def is_unused(run: Path) -> bool:
    """Tell whether a folder holds nothing, or only what a run leaves that ended before its first file was whole."""
    paths = [path for folder in (run, run / STATE) if folder.is_dir() for path in folder.iterdir()]
    return all(path.name in (STATE, _LOCK, *_OF_SYSTEM) or _HALF.fullmatch(path.name) for path in paths)


def check_new(run: Path, overwrite: bool) -> None:
    """Refuse a folder that already holds something, unless it is a run that may be overwritten."""
    if run.exists() and not run.is_dir():
        raise UserError(f"{run}: is a file; adapter_path is a directory")
    if not run.exists() or is_unused(run):
        return
    if not overwrite and not _is_run(run):
        raise UserError(f"{run}: is not empty, and no run of mlx-trace")
    if not overwrite:
        raise UserError(f"{run}: holds a run already; {setting('resume', True)} continues it, "
                        f"{setting('overwrite', True)} replaces it")  # fmt: skip
    if not _is_run(run):
        raise UserError(f"{run}: is not a run of mlx-trace, so it is not overwritten")


def _is_run(run: Path) -> bool:
    """Tell whether mlx-trace wrote what is there: other tools, too, name their files so."""
    file = run / CONFIG_FILE
    try:
        content = read_yaml(read_text(file), str(file)) if file.is_file() else None
    except UserError:
        return False
    return isinstance(content, dict) and set(content) >= _KEYS


def check_writable(run: Path) -> None:
    """Refuse a folder that cannot be written to, or made."""
    existing = next(path for path in (run, *run.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"{run}: {existing} cannot be written to")


# --- who holds it ----------------------------------------------------------------------------------------------


class Hold:
    """A run's folder that this process holds: the folder itself, whatever may come to stand in its place."""

    def __init__(self, run: Path, handle: int) -> None:
        self.run, self.handle = run, handle

    def check(self) -> None:
        """Raise UserError if the folder was moved, removed or replaced: another run may have begun there."""
        mine = os.fstat(self.handle)
        try:
            there = (self.run / STATE / _LOCK).lstat()
        except OSError:
            there = None
        if there is None or (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino):
            raise UserError(f"{self.run}: was moved, removed or replaced while this run went on; it stops, and writes "
                            "nothing more there")  # fmt: skip


@contextmanager
def locked(run: Path) -> Iterator[Hold]:
    """Hold a run's folder for this process; UserError if another one has it, or it cannot be written to."""
    check_own(run)
    try:
        (run / STATE).mkdir(parents=True, exist_ok=True)
        handle = os.open(run / STATE / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise unreadable(run, error) from None
    try:
        _take(run, handle)
        hold = Hold(run, handle)
        hold.check()
        yield hold
    finally:
        os.close(handle)


def check_unheld(run: Path) -> None:
    """Refuse a folder that another process holds, without making anything there."""
    check_own(run)
    if not (run / STATE / _LOCK).is_file():
        return
    try:
        handle = os.open(run / STATE / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except OSError as error:
        raise unreadable(run, error) from None
    try:
        _take(run, handle)
    finally:
        os.close(handle)


def _take(run: Path, handle: int) -> None:
    try:
        is_ours = try_lock(handle)
    except OSError as error:
        raise unreadable(run, error) from None
    if not is_ours:
        raise UserError(f"{run}: another process is training in this directory")


# --- begun, and read again -------------------------------------------------------------------------------------


def open_run(base: Base, config: Config, asked: Config | None = None) -> None:
    """Start a run in a folder that is held: remove an earlier one, write what makes this an adapter of its base.

    `asked` is the configuration as it was given, where it is another, which a resumed run is compared with.
    """
    run = config.adapter_path
    for path in (run / STATE).iterdir() if (run / STATE).is_dir() else ():
        if is_numbered(path) or is_half_saved(path):
            remove_checkpoint(path)
    if not (run / BEST).is_symlink():
        _remove(run / BEST, (ADAPTER_CONFIG, ADAPTER_WEIGHTS, CHAT_TEMPLATE))
    for name in (METRICS_FILE, SAMPLES_FILE, ADAPTER_WEIGHTS):
        (run / name).unlink(missing_ok=True)
    write_atomically(run / CONFIG_FILE, [dump_config(asked or config)])
    describe_adapter(run, base, config)


def describe_adapter(folder: Path, base: Base, config: Config, knows_all: bool = False) -> None:
    """Write what makes this an adapter of its base, and the template with which other tools ask it for traces.

    Under `loss: choices` it `knows_all` of a trace once it has finished on all tokens.
    """
    write_atomically(folder / ADAPTER_CONFIG, [json.dumps(adapter_config(base, config, knows_all), indent=2) + "\n"])
    template = stock_template_or_none(base.tokenizer, config.prompt)
    if template is None:  # mlx-trace asks as ever; `fuse` would say why nothing else can
        (folder / CHAT_TEMPLATE).unlink(missing_ok=True)
    else:
        write_atomically(folder / CHAT_TEMPLATE, [template])


def read_run_config(run: Path) -> Config:
    """Return the configuration a run was started with."""
    file = run / CONFIG_FILE
    if not file.is_file():
        raise UserError(f"{run}: no run to resume: it has no {CONFIG_FILE}")
    content: Any = read_yaml(read_text(file), str(file))
    if not isinstance(content, dict):
        raise UserError(f"{file}: not a configuration")
    return validate_config(content, str(file))
