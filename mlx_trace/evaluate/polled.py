"""Problems with several samples each: one sample, the vote and pass@k side by side, problems being the unit.

Takes a problem's records; returns one `Polled` a problem, and the means and counts that summarise them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from mlx_trace.evaluate.causes import Cause
from mlx_trace.evaluate.record import Record
from mlx_trace.evaluate.stats import Mean, Rate, mcnemar
from mlx_trace.evaluate.vote import Vote, cast, pass_at
from mlx_trace.language.numbers import spell
from mlx_trace.problems.problem import Problem


@dataclass(frozen=True, slots=True)
class Polled:
    """One problem's samples, and their vote."""

    records: Sequence[Record]
    vote: Vote

    @property
    def problem(self) -> Problem:
        """Return the problem."""
        return self.records[0].problem

    @property
    def right(self) -> int:
        """Return how many samples are right."""
        return sum(record.correct for record in self.records)

    @property
    def correct(self) -> bool:
        """Tell whether what wins the vote is right."""
        return self.vote.winner is not None and self.records[self.vote.speaker].correct

    @property
    def cause(self) -> Cause | None:
        """Return why what wins the vote is wrong, or the first sample where none has an answer."""
        return None if self.correct else self.records[self.vote.speaker if self.vote.winner else 0].cause

    @property
    def prompt_tokens(self) -> int:
        """Return the tokens of all prompts that were read: what samples share, once."""
        return prompt_tokens_of(self.records)

    def as_json(self) -> str:
        """Return the problem, its vote and its samples as one line of JSON."""
        winner = self.vote.winner
        samples = [
            {"output": record.output, "kind": record.grade.kind, "got": record.grade.answer,
             "weight": round(float(ballot.weight), 4), "detail": record.grade.detail, **record.cost()}
            for record, ballot in zip(self.records, self.vote.ballots, strict=True)
        ]  # fmt: skip
        row: dict[str, Any] = {
            **self.problem.model_dump(),
            "got": None if winner is None else spell(winner.answer), "correct": self.correct, "right": self.right,
            "cause": self.cause,
            "agreement": round(float(self.vote.agreement), 4), "votes": self.vote.as_json(), "samples": samples,
            "prompt_tokens": self.prompt_tokens,
            "tokens": sum(record.tokens for record in self.records),
            "sampled": sum(record.sampled for record in self.records),
            "seconds": round(sum(record.seconds for record in self.records), 4),
        }  # fmt: skip
        return json.dumps(row, ensure_ascii=False)


def prompt_tokens_of(records: Sequence[Record]) -> int:
    """Return the tokens of the prompts of samples of one problem: the first turn's once, and those of repairs."""
    first = records[0].turns[0].prompt_tokens
    return first + sum(record.prompt_tokens - record.turns[0].prompt_tokens for record in records)


def polled(records: Sequence[Record]) -> Polled:
    """Let the samples of a problem vote."""
    return Polled(records, Vote(cast(records[0].problem.question, [record.output for record in records])))


@dataclass(frozen=True, slots=True)
class PollSummary:
    """Means over n problems of their samples, how often the vote is right, and pass@k for some k.

    `paired` compares the vote with the first sample: problems that only the first got right, that only the vote got
    right, and McNemar's exact p.
    """

    parsed: Mean
    valid: Mean
    one_sample: Mean
    vote: Rate
    passes: dict[int, Mean]
    agreement: Mean
    paired: tuple[int, int, float]

    def as_json(self) -> dict[str, Any]:
        """Return the shares with their intervals."""
        means = {"parsed": self.parsed, "valid": self.valid, "one_sample": self.one_sample}
        return {
            "n": self.vote.n, **{name: mean.as_json() for name, mean in means.items()}, "vote": self.vote.as_json(),
            "pass": {str(k): mean.as_json() for k, mean in self.passes.items()}, "agreement": self.agreement.as_json(),
            "vote_against_first": {"lost": self.paired[0], "gained": self.paired[1], "p": self.paired[2]},
        }  # fmt: skip


def summarise_polls(polls: Sequence[Polled], samples: int) -> PollSummary:
    """Summarise problems of `samples` samples each."""
    rights = [poll.right for poll in polls]
    return PollSummary(
        Mean.of(Fraction(sum(record.parsed for record in poll.records), samples) for poll in polls),
        Mean.of(Fraction(sum(record.valid for record in poll.records), samples) for poll in polls),
        Mean.of(Fraction(right, samples) for right in rights),
        Rate(sum(poll.correct for poll in polls), len(polls)),
        {k: Mean.of(pass_at(k, samples, right) for right in rights) for k in shown_k(samples)},
        Mean.of(poll.vote.agreement for poll in polls),
        mcnemar([poll.records[0].correct for poll in polls], [poll.correct for poll in polls]),
    )


def shown_k(samples: int) -> list[int]:
    """Return the k of the pass@k that are shown: powers of two, and all."""
    return sorted({samples, *(1 << power for power in range(samples.bit_length()))})
