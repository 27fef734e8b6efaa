"""Whether the Hugging Face hub answers, asked with patience for some seconds: name servers hang beyond any timeout.

Takes a question to its client; returns the answer, or in words what "the hub" does instead.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from logging import ERROR, getLogger
from typing import Final, TypeVar, cast

from mlx_trace.background import begun
from mlx_trace.errors import short

T = TypeVar("T")

PATIENCE: Final = 4.0  # seconds


def ask(call: Callable[[], T]) -> tuple[T | None, str]:
    """Return what the hub's client answers, or None and why."""
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if constants.HF_HUB_OFFLINE:
        return None, "is switched off (HF_HUB_OFFLINE)"
    getLogger("huggingface_hub").setLevel(ERROR)  # it tells of each of its tries; what came of them is said below
    try:
        return begun(call)(PATIENCE), ""
    except GatedRepoError:
        return None, "wants a licence accepted on its page, then `hf auth login` (or HF_TOKEN)"
    except RepositoryNotFoundError:
        return None, "knows none; a private one needs `hf auth login` (or HF_TOKEN)"
    except TimeoutError:
        return None, "does not answer"
    except Exception as error:  # of the hub's HTTP client, which changes between its versions; any means no
        return None, f"cannot be reached ({short(error)})"


def network_error() -> type[Exception]:
    """Return what the hub's HTTP client raises when a connection breaks; its package differs between versions."""
    name = "httpx2" if find_spec("httpx2") else "httpx"
    return cast(type[Exception], import_module(name).HTTPError)
