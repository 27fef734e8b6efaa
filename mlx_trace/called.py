"""Packages that can be called: `mlx_trace.train` is a room of modules, and what a person calls to train.

Python binds a room's name to its module wherever anything in it is imported, so that no function could stay there.
"""

import sys
from importlib import import_module
from inspect import Signature, signature
from types import ModuleType
from typing import Any


class CallableModule(ModuleType):
    """A module whose call is one function's, which is imported when it is first called."""

    _called: tuple[str, str]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self._function()(*args, **kwargs)

    @property
    def __signature__(self) -> Signature:
        return signature(self._function())

    def _function(self) -> Any:
        module, name = self._called
        return getattr(import_module(module), name)


def let_call(module: str, function: str) -> None:
    """Let a module, by its full name, be called as a function, by its module's name and its own: `a.b:c`."""
    own = sys.modules[module]
    own.__class__ = CallableModule
    home, _, name = function.partition(":")
    own._called = (home, name)  # type: ignore[attr-defined]
