"""Several samples of a question → one answer: a vote over what their traces computed (Wang et al. 2022), and pass@k.

Takes answers and weights, or the texts that give them. Pure and exact; knows nothing of models or of right answers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import comb
from typing import Any

from mlx_trace.evaluate.usage import share_used
from mlx_trace.language.numbers import spell
from mlx_trace.language.solver import Solved, solve
from mlx_trace.language.syntax import NoTrace, parse


@dataclass(frozen=True, slots=True)
class Ballot:
    """What one sample says: its answer, None where no trace ran, and the share of the question's amounts behind it."""

    answer: Fraction | None
    weight: Fraction


@dataclass(frozen=True, slots=True)
class Candidate:
    """An answer, the numbers of the samples that say so, in order, and the sum of their weights."""

    answer: Fraction
    samples: tuple[int, ...]
    weight: Fraction

    def __str__(self) -> str:
        return spell(self.answer)


@dataclass(frozen=True)
class Vote:
    """The ballots of a question's samples. Equal numbers are one answer, and who has none does not vote.

    The heaviest answer wins; of equally heavy ones the one that more samples say, then the one that was said first.
    """

    ballots: Sequence[Ballot]

    @cached_property
    def candidates(self) -> list[Candidate]:
        """Return the answers that were given, the winner first."""
        saying: dict[Fraction, list[int]] = {}
        for number, ballot in enumerate(self.ballots):
            if ballot.answer is not None:
                saying.setdefault(ballot.answer, []).append(number)
        candidates = [Candidate(answer, tuple(samples), sum((self.ballots[n].weight for n in samples), Fraction()))
                      for answer, samples in saying.items()]  # fmt: skip
        return sorted(candidates, key=lambda said: (-said.weight, -len(said.samples), said.samples[0]))

    @property
    def winner(self) -> Candidate | None:
        """Return the answer that wins; None where no trace ran."""
        return self.candidates[0] if self.candidates else None

    @property
    def agreement(self) -> Fraction:
        """Return the share of all samples that say what wins."""
        return Fraction(len(self.winner.samples) if self.winner else 0, len(self.ballots))

    @property
    def is_split(self) -> bool:
        """Tell whether no more than half of the samples say what wins."""
        return self.winner is not None and self.agreement <= Fraction(1, 2)

    @property
    def speaker(self) -> int:
        """Return the number of the sample to show: of those that say what wins, the first of the heaviest."""
        samples = self.winner.samples if self.winner else range(len(self.ballots))
        return max(samples, key=lambda number: (self.ballots[number].weight, -number))

    def as_json(self) -> list[dict[str, Any]]:
        """Return the candidates with their counts and weights."""
        return [{"answer": str(candidate), "count": len(candidate.samples), "weight": round(float(candidate.weight), 4)}
                for candidate in self.candidates]  # fmt: skip


def cast(question: str, texts: Iterable[str]) -> list[Ballot]:
    """Run each sample's text, an equal one once, and return its ballot."""
    ballots: dict[str, Ballot] = {}
    given = []
    for text in texts:
        if text not in ballots:
            ballots[text] = _ballot(question, text)
        given.append(ballots[text])
    return given


def _ballot(question: str, text: str) -> Ballot:
    trace = parse(text)
    outcome = None if isinstance(trace, NoTrace) else solve(trace)
    if isinstance(trace, NoTrace) or not isinstance(outcome, Solved):
        return Ballot(None, Fraction())
    return Ballot(outcome.answer, share_used(question, trace))


def pass_at(k: int, samples: int, right: int) -> Fraction:
    """Return the chance that one of k samples is right, drawn from `samples` of which `right` are (Chen et al. 2021).

    Unbiased for k below `samples`; where all are drawn it is 0 or 1.
    """
    if not 1 <= k <= samples or not 0 <= right <= samples:
        raise ValueError(f"{k} of {samples} samples, {right} of them right")
    return 1 - Fraction(comb(samples - right, k), comb(samples, k))
