"""What calls of programs have to say besides their result: heard by the logger `mlx_trace`, and not printed."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from mlx_trace.notice import heard

P = ParamSpec("P")
R = TypeVar("R")
LOGGER: Final = logging.getLogger("mlx_trace")
LOGGER.addHandler(logging.NullHandler())  # or Python would print warnings of a logger that nobody has set up


@contextmanager
def logged() -> Iterator[None]:
    """Let notices go to the logger."""
    with heard(LOGGER.warning):
        yield


def quietly(call: Callable[P, R]) -> Callable[P, R]:
    """Return a function whose notices go to the logger."""

    @wraps(call)
    def quiet(*args: P.args, **kwargs: P.kwargs) -> R:
        with logged():
            return call(*args, **kwargs)

    return quiet
