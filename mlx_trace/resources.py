"""Where the files that come with the package are: in a checkout beside it, in an installed wheel inside it."""

from pathlib import Path

from mlx_trace.errors import UserError

_PACKAGE = Path(__file__).resolve().parent


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
    return _find("tiny")


def adapters_dir() -> Path:
    """Return the folder of the adapters that come with the package."""
    return _find("adapters")
