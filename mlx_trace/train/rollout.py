"""A batch of sampled replies with their grades, and what is measured of it.

Takes episodes in groups, one a problem. Knows nothing of gradients.
"""

import importlib.util
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any, Final

from mlx_trace.config import Reinforce
from mlx_trace.decode.episode import Episode
from mlx_trace.errors import UserError
from mlx_trace.language.grade import EXPECTABLE, GRADE_KINDS, Grade, grade
from mlx_trace.problems.problem import Problem
from mlx_trace.train.advantages import is_dead
from mlx_trace.train.loop import Metrics
from mlx_trace.train.ranks import Ranks

RewardFunction = Callable[[Problem, str, Grade], Any]  # a finite number is wanted
Scorer = Callable[[Problem, str], Grade]
_SHOWN: Final = 80  # characters of a reply in a message
_KINDS: Final = tuple(kind for kind in GRADE_KINDS if kind != "solved")


@dataclass(slots=True)
class Rollout:
    """Problems, each with a group of episodes and their grades."""

    problems: list[Problem]
    groups: list[list[Episode]]
    grades: list[list[Grade]]

    @property
    def rewards(self) -> list[list[float]]:
        """Return the rewards, a group a problem."""
        return [[float(one.reward or 0.0) for one in group] for group in self.grades]

    @property
    def episodes(self) -> list[Episode]:
        """Return all episodes."""
        return [one for group in self.groups for one in group]

    def replace(self, places: Sequence[int], other: "Rollout") -> None:
        """Put another rollout's groups, in order, in these places; its prompts are numbered after those here."""
        beyond = 1 + max((one.prompt for one in self.episodes), default=-1)
        for at, problem, group, grades in zip(places, other.problems, other.groups, other.grades, strict=True):
            for one in group:
                one.prompt += beyond
            self.problems[at], self.groups[at], self.grades[at] = problem, group, grades


def make_scorer(settings: Reinforce) -> Scorer:
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
        raise UserError(f"{where}: {type(error).__name__}: {error}") from error
    if isinstance(reward, bool) or not isinstance(reward, Real) or not math.isfinite(reward):
        raise UserError(f"{where}: it returned {reward!r}, and a reward is a finite number")
    return float(reward)


def load_reward(name: str) -> RewardFunction:
    """Return the function that FILE.py:NAME names; UserError if there is none."""
    file, _, function = name.rpartition(":")
    path = Path(file).expanduser()
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
    found = getattr(module, function, None)
    if not callable(found):
        raise UserError(f"reinforce.reward_function: {path} has no function {function!r}")
    return found  # type: ignore[no-any-return]


def measured(rollout: Rollout, ranks: Ranks, group_size: int) -> Metrics:
    """Return rewards, grades, dead groups and lengths of all ranks' samples."""
    grades = [one for group in rollout.grades for one in group]
    kinds = Counter(one.kind for one in grades)
    experts = [
        problem.gold_expert for problem, group in zip(rollout.problems, rollout.grades, strict=True) for _ in group
    ]
    asked = Counter(experts)
    solved = Counter(expert for expert, one in zip(experts, grades, strict=True) if one.kind == "correct")
    sums = [
        len(grades), sum(map(sum, rollout.rewards)), sum(map(is_dead, rollout.rewards)),
        sum(len(one.ids) for one in rollout.episodes), sum(len(one.logprobs) for one in rollout.episodes),
        sum(one.truncated for one in rollout.episodes), *(kinds[kind] for kind in _KINDS),
        *(count[expert] for count in (asked, solved) for expert in EXPECTABLE),
    ]  # fmt: skip
    count, reward, dead, length, sampled, truncated, *others = ranks.total(*sums)
    shares: Metrics = {kind: number / count for kind, number in zip(_KINDS, others, strict=False)}
    of_expert = others[len(_KINDS) :]
    counts = zip(EXPECTABLE, of_expert[: len(EXPECTABLE)], of_expert[len(EXPECTABLE) :], strict=True)
    by_expert = {f"correct_{expert}": right / number for expert, number, right in counts if number}
    return {"episodes": int(count), "reward": reward / count, **shares, **by_expert, "dead_groups": int(dead),
            "groups": int(count) // group_size, "length": length / count, "sampled": sampled / count,
            "truncated": int(truncated)}  # fmt: skip
