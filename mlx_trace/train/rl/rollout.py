"""A batch of sampled and graded replies, and what is measured of it.

Takes episodes in groups, one a problem. Knows nothing of gradients.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mlx_trace.decode.episode import Episode
from mlx_trace.language.grade import EXPECTABLE, GRADE_KINDS, Grade
from mlx_trace.problems.problem import Problem
from mlx_trace.train.metrics import Metrics
from mlx_trace.train.ranks import Ranks
from mlx_trace.train.rl.advantages import has_zero_variance

_KINDS: Final = tuple(kind for kind in GRADE_KINDS if kind != "solved")


@dataclass(slots=True)
class Rollout:
    """Problems, each with a group of episodes, which carry their grades once they are scored."""

    problems: list[Problem]
    groups: list[list[Episode]]

    @property
    def episodes(self) -> list[Episode]:
        """Return all episodes."""
        return [episode for group in self.groups for episode in group]

    @property
    def rewards(self) -> list[list[float]]:
        """Return the rewards, a group a problem."""
        return [[float(grade_of(episode).reward or 0.0) for episode in group] for group in self.groups]

    @property
    def solved(self) -> list[tuple[list[int], list[int]]]:
        """Return the prompts and replies, as ids, of the distinct samples that are right."""
        pairs = {(tuple(episode.prompt_ids), tuple(episode.ids)): None for episode in self.episodes
                 if grade_of(episode).kind == "correct"}  # fmt: skip
        return [(list(prompt), list(ids)) for prompt, ids in pairs]

    def replace(self, indexes: Sequence[int], other: "Rollout") -> None:
        """Put another rollout's groups, in order, in these places; its prompts are numbered after those here."""
        beyond = 1 + max((episode.prompt for episode in self.episodes), default=-1)
        for index, problem, group in zip(indexes, other.problems, other.groups, strict=True):
            for episode in group:
                episode.prompt += beyond
            self.problems[index], self.groups[index] = problem, group


def grade_of(episode: Episode) -> Grade:
    """Return the grade of an episode that was scored."""
    if episode.grade is None:
        raise ValueError("this episode has not been scored")
    return episode.grade


def rollout_metrics(rollout: Rollout, ranks: Ranks, group_size: int) -> Metrics:
    """Return rewards, grades, groups without a signal and lengths of all ranks' samples."""
    grades = [grade_of(episode) for episode in rollout.episodes]
    kinds = Counter(grade.kind for grade in grades)
    experts = [
        problem.gold_expert for problem, group in zip(rollout.problems, rollout.groups, strict=True) for _ in group
    ]
    asked = Counter(experts)
    solved = Counter(expert for expert, grade in zip(experts, grades, strict=True) if grade.kind == "correct")
    sums = [
        len(grades), sum(map(sum, rollout.rewards)), sum(reward**2 for group in rollout.rewards for reward in group),
        sum(map(has_zero_variance, rollout.rewards)),
        sum(len(episode.ids) for episode in rollout.episodes),
        sum(len(episode.logprobs) for episode in rollout.episodes),
        sum(episode.truncated for episode in rollout.episodes), *(kinds[kind] for kind in _KINDS),
        *(count[expert] for count in (asked, solved) for expert in EXPECTABLE),
    ]  # fmt: skip
    count, reward, squares, zero_variance, length, sampled, truncated, *others = ranks.total(*sums)
    groups = int(count) // group_size
    shares: Metrics = {kind: number / count for kind, number in zip(_KINDS, others, strict=False)}
    of_expert = others[len(_KINDS) :]
    counts = zip(EXPECTABLE, of_expert[: len(EXPECTABLE)], of_expert[len(EXPECTABLE) :], strict=True)
    by_expert = {f"correct_{expert}": right / number for expert, number, right in counts if number}
    mean = reward / count
    return {"episodes": int(count), "reward": mean, "reward_std": max(0.0, squares / count - mean**2) ** 0.5, **shares,
            **by_expert, "groups": groups, "frac_reward_zero_std": zero_variance / groups, "length": length / count,
            "sampled": sampled / count, "truncated": int(truncated)}  # fmt: skip
