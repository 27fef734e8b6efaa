"""A batch of sampled and graded replies, and what is measured of it.

Takes episodes in groups, one a problem. Knows nothing of gradients.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mlx_trace.decode.episode import Episode
from mlx_trace.language.grade import EXPECTABLE, GRADE_KINDS, Grade
from mlx_trace.model.prompts import Prompter
from mlx_trace.problems.problem import Problem
from mlx_trace.train.metrics import Metrics
from mlx_trace.train.ranks import Ranks
from mlx_trace.train.rl.advantages import has_zero_variance
from mlx_trace.train.samples import SavedSample

Reply = tuple[int, tuple[int, ...]]  # the number of its prompt, and its ids

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


def reply_of(episode: Episode) -> Reply:
    """Return what was asked and what was said, which samples that are the same have in common."""
    return episode.prompt, tuple(episode.ids)


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
    groups, lengths = int(count) // group_size, ranks.gathered([len(episode.ids) for episode in rollout.episodes])
    shares: Metrics = {kind: number / count for kind, number in zip(_KINDS, others, strict=False)}
    of_expert = others[len(_KINDS) :]
    counts = zip(EXPECTABLE, of_expert[: len(EXPECTABLE)], of_expert[len(EXPECTABLE) :], strict=True)
    by_expert = {f"correct_{expert}": right / number for expert, number, right in counts if number}
    mean = reward / count
    of_trl: Metrics = {"completions/min_length": min(lengths), "completions/max_length": max(lengths),
                       "completions/clipped_ratio": truncated / count}  # fmt: skip
    return {"episodes": int(count), "reward": mean, "reward_std": max(0.0, squares / count - mean**2) ** 0.5, **shares,
            **by_expert, "groups": groups, "frac_reward_zero_std": zero_variance / groups, "length": length / count,
            "sampled": sampled / count, "truncated": int(truncated), **of_trl}  # fmt: skip


def saved_samples(
    rollout: Rollout, ranks: Ranks, update: int, gaps: Mapping[Reply, float], prompter: Prompter
) -> list[SavedSample]:
    """Return all ranks' samples as they are saved, in the order of the prompts.

    `gaps` are those of log-probabilities, of replies that were learnt from.
    """
    saved: list[dict[str, Any]] = []
    for slot, (problem, group) in enumerate(zip(rollout.problems, rollout.groups, strict=True)):
        for number, episode in enumerate(group):
            graded, gap = grade_of(episode), gaps.get(reply_of(episode))
            row = SavedSample(
                update=update, group=ranks.rank + slot * ranks.size, sample=number, id=problem.id,
                question=problem.question, answer=problem.answer, reply=prompter.decode(episode.ids),
                grade=graded.kind, got=graded.answer, detail=graded.detail, reward=float(graded.reward or 0.0),
                advantage=float(episode.advantage), logprob=round(sum(episode.logprobs), 5),
                logprob_gap=None if gap is None else float(f"{gap:.3g}"), tokens=len(episode.ids),
                sampled=len(episode.logprobs), truncated=episode.truncated,
            )  # fmt: skip
            saved.append(row.model_dump())
    every = [SavedSample.model_validate(row) for row in ranks.gathered(saved)]
    return sorted(every, key=lambda sample: (sample.group, sample.sample))
