"""Where files are: those that come with the package, in a checkout beside it or in an installed wheel inside it; and
those that it keeps for itself, in a cache and a state folder that may be removed at any time.
"""

import os
from pathlib import Path
from typing import Final

from mlx_trace.errors import UserError

_CACHE: Final = "MLX_TRACE_CACHE"
_STATE: Final = "XDG_STATE_HOME"
_NO_HOME: Final = Path("/nonexistent")
_PACKAGE: Final = Path(__file__).resolve().parent


def _find(kind: str) -> Path:
    inside, beside = _PACKAGE / kind, _PACKAGE.parent / kind
    for folder in (inside, beside):
        if folder.is_dir():
            return folder
    raise UserError(f"the installation is incomplete: neither {inside} nor {beside} exists; install mlx-trace again")


def schemas_dir() -> Path:
    """Return the folder of problem families, one folder an expert, `vocab` beside them."""
    return _find("schemas")


def configs_dir() -> Path:
    """Return the folder of run configurations."""
    return _find("configs")


def tiny_dir() -> Path:
    """Return the folder of the bundled tiny base, a model directory like any other."""
    return _find("tiny/model")


def split_dir() -> Path:
    """Return the folder of the hashes by which GSM-8K's questions are known."""
    return _find("problems/gsm8k_split")


def sets_dir() -> Path:
    """Return the folder of frozen evaluation sets."""
    return _find("eval")


def adapters_dir() -> Path:
    """Return the folder of the adapters that come with the package."""
    return _find("adapters")


def adapter_at(path: Path) -> Path:
    """Return where an adapter, a run, or a file of it is: in adapters/NAME as it is here, or else in the package's."""
    if path.parts[:1] != ("adapters",) or len(path.parts) < 2 or ".." in path.parts or Path(*path.parts[:2]).exists():
        return path
    bundled = adapters_dir().joinpath(*path.parts[1:])
    return bundled if bundled.exists() else path


def is_bundled(path: Path) -> bool:
    """Tell whether an adapter, or a file of it, is one that comes with the package, and none that is here."""
    return adapter_at(path) != path


def report_dir() -> Path:
    """Return the folder of a report's template, style and script."""
    return _find("evaluate/report/web")


def page_dir() -> Path:
    """Return the folder of the page that a server shows."""
    return _find("serve/web")


def cache_dir() -> Path:
    """Return the folder of what was fetched or converted once: MLX_TRACE_CACHE, or one in the user's home."""
    return _own(os.environ.get(_CACHE) or "~/.cache/mlx-trace")


def state_dir() -> Path:
    """Return the folder of what is remembered of its use, such as what was asked: one in the user's home."""
    return _own(os.environ.get(_STATE) or "~/.local/state") / "mlx-trace"


def _own(name: str) -> Path:
    """Return a folder of its own; where nobody knows a home, one under that which there is not, as in /etc/passwd."""
    path = expanded(name)
    return (_NO_HOME.joinpath(*path.parts[1:]) if path.parts[0].startswith("~") else path).absolute()


def expanded(path: str | Path) -> Path:
    """Return a path with ~ and ~NAME as a shell reads them: as it stands where there is no such home."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 Path's raises RuntimeError
