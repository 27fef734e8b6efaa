"""What a reply earns: the solver's grade, and on top of it the user's own reward, if there is one.

Takes a problem and a reply's text. Knows nothing of networks.
"""

import importlib.util
import inspect
import math
import traceback
from collections.abc import Callable
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any, Final

from mlx_trace.config_reinforce import ReinforceConfig
from mlx_trace.errors import UserError
from mlx_trace.language.grade import Grade, grade
from mlx_trace.problems.problem import Problem
from mlx_trace.resources import expanded

RewardFunction = Callable[[Problem, str, Grade], Any]  # a finite number is wanted
Scorer = Callable[[Problem, str], Grade]
_SHOWN: Final = 80  # characters of a reply in a message


def make_scorer(settings: ReinforceConfig) -> Scorer:
    """Return what grades a reply: the solver, and on top of it the user's own reward, if there is one."""
    own = None if settings.reward_function is None else load_reward(settings.reward_function)

    def score(problem: Problem, reply: str) -> Grade:
        graded = grade(reply, problem.expected, problem.expert, settings.rewards)
        return graded if own is None else replace(graded, reward=_own_reward(own, problem, reply, graded))

    return score


def _own_reward(own: RewardFunction, problem: Problem, reply: str, graded: Grade) -> float:
    """Return what a user's function gives; UserError if it fails or gives no finite number."""
    where = f"reinforce.reward_function: on problem {problem.id!r} and the reply {reply[:_SHOWN]!r}"
    try:
        reward = own(problem, reply, graded)
    except (Exception, SystemExit) as error:  # the user's code, which may raise anything
        own_frame = traceback.extract_tb(error.__traceback__)[:2][-1]  # of the function itself, whatever it called
        place = f"{Path(own_frame.filename).name}, line {own_frame.lineno}"
        raise UserError(f"{where}: {type(error).__name__}: {error} ({place})") from error
    if isinstance(reward, bool) or not isinstance(reward, Real) or not math.isfinite(reward):
        raise UserError(f"{where}: it returned {reward!r}, and a reward is a finite number")
    return float(reward)


def load_reward(name: str) -> RewardFunction:
    """Return the function that FILE.py:NAME names; UserError if there is none."""
    file, _, function = name.rpartition(":")
    path = expanded(file)
    if not (path.suffix == ".py" and path.is_file()):
        raise UserError(f"reinforce.reward_function: {name}: wants FILE.py:NAME, and {file or name} is no Python file")
    spec = importlib.util.spec_from_file_location("mlx_trace_reward", path)
    if spec is None or spec.loader is None:
        raise UserError(f"reinforce.reward_function: {path}: cannot be imported")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the user's code, which may raise anything
        raise UserError(f"reinforce.reward_function: {path}: {type(error).__name__}: {error}") from error
    reward = getattr(module, function, None)
    if not callable(reward):
        raise UserError(f"reinforce.reward_function: {path} has no function {function!r}")
    _check_signature(reward, name)
    return reward  # type: ignore[no-any-return]


def _check_signature(reward: Callable[..., Any], name: str) -> None:
    """Refuse a function that cannot be called as rewards are, before a model is loaded and a reply is sampled."""
    try:
        signature = inspect.signature(reward)
    except (TypeError, ValueError):  # of one that is not written in Python, nothing is known
        return
    try:
        signature.bind("problem", "reply", "grade")
    except TypeError as error:
        raise UserError(f"reinforce.reward_function: {name} is called with three arguments, the problem, the reply and "
                        f"the solver's grade, and takes {signature}: {error}") from None  # fmt: skip
