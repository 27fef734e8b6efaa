"""New folders, which appear whole or not at all, where nothing stood before; old ones under names of plain letters."""

import glob
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlx_trace.errors import UserError
from mlx_trace.files import unreadable


def check_free(folder: Path, what: str = "a model") -> None:
    """Refuse a folder that holds something, or could not be made; `what` is to be written there."""
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder}: exists already; {what} is written to a new directory")
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise unreadable(folder, error) from None


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder, which becomes `folder` if all goes well, and is removed if not."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise unreadable(folder, error) from None
    try:
        yield temporary
        folder.rmdir() if folder.exists() else None
        temporary.chmod(0o755)
        temporary.rename(folder)
    except OSError as error:
        raise unreadable(folder, error) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def plainly_named(folder: Path) -> Iterator[Path]:
    """Yield a folder under a path without brackets, stars and question marks: mlx-lm finds files by a pattern."""
    if glob.escape(str(folder)) == str(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        link = Path(temporary) / "model"
        link.symlink_to(folder.absolute(), target_is_directory=True)
        yield link
