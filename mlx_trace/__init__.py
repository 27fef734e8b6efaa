"""mlx-trace: a small language model writes the program, a solver runs it, and the answer is checked.

`load`, `solve`, `compile`, `evaluate` and `train` are what notebooks and programs use; mlx_trace/api says how. What
they need is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlx_trace.api.evaluating import Evaluated as Evaluated
    from mlx_trace.api.evaluating import evaluate as evaluate
    from mlx_trace.api.model import Model as Model
    from mlx_trace.api.model import load as load
    from mlx_trace.api.reply import ModelReply as ModelReply
    from mlx_trace.api.solution import Solution as Solution
    from mlx_trace.api.solution import compile as compile  # noqa: A004 the word here
    from mlx_trace.api.solution import solve as solve
    from mlx_trace.api.trained import TrainedRun as TrainedRun
    from mlx_trace.api.training import train as train
    from mlx_trace.errors import UserError as UserError
    from mlx_trace.train.interrupt import Interrupted as Interrupted

    __version__: str

_PLACES = {
    "Evaluated": "api.evaluating", "Interrupted": "train.interrupt", "Model": "api.model", "ModelReply": "api.reply",
    "Solution": "api.solution", "TrainedRun": "api.trained", "UserError": "errors", "compile": "api.solution",
    "load": "api.model", "solve": "api.solution",
}  # fmt: skip
_CALLED = ("evaluate", "train")  # rooms that can be called
__all__ = [
    "Evaluated", "Interrupted", "Model", "ModelReply", "Solution", "TrainedRun", "UserError", "__version__", "compile",
    "evaluate", "load", "solve", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("mlx-trace")
    if name in _CALLED:
        return import_module(f"{__name__}.{name}")
    if name in _PLACES:
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
