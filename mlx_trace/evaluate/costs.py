"""What being right costs: the share that is right beside tokens and seconds a problem, for each way to answer.

Takes the records of all replies; returns a `Cost` for the first reply, after each turn of repair, and for votes of
some of the samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from mlx_trace.evaluate.polled import polled, prompt_tokens_of, shown_k
from mlx_trace.evaluate.record import Record
from mlx_trace.evaluate.stats import Mean


@dataclass(frozen=True, slots=True)
class Cost:
    """How often a way to answer is right, and the tokens read and written, and seconds, that it takes a problem."""

    name: str
    correct: Mean
    prompt_tokens: float
    tokens: float
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the share with its interval, and the means."""
        return {
            "name": self.name, "n": self.correct.n, **self.correct.as_json(),
            "prompt_tokens": round(self.prompt_tokens, 1), "tokens": round(self.tokens, 1),
            "seconds": round(self.seconds, 4),
        }  # fmt: skip


def costs(records: Sequence[Sequence[Record]], repair: int = 0) -> list[Cost]:
    """Return the costs of the first reply, of `repair` turns one by one, then of votes of 2, 4, … of the samples.

    One of several samples is the mean of all. A vote of k is the mean of the votes of samples 1 to k, k + 1 to 2 k, …:
    no sample is in two of them, and what votes is what repair left.
    """
    samples = len(records[0])
    first = "one sample" if samples > 1 else "one reply"
    single = [_turned(records, first if not turn else f"{turn} repair{'s' * (turn > 1)}", turn)
              for turn in range(repair + 1)]  # fmt: skip
    return single + [_voted(records, k) for k in shown_k(samples) if k > 1]


def _turned(records: Sequence[Sequence[Record]], name: str, repairs: int) -> Cost:
    """Return the cost of one reply, given back for so many turns at most."""
    turns = [[record.turns[: repairs + 1] for record in own] for own in records]
    each = [turn for own in turns for replied in own for turn in replied]
    n = sum(map(len, records))
    right = (Fraction(sum(replied[-1].grade.kind == "correct" for replied in own), len(own)) for own in turns)
    return Cost(name, Mean.of(right), sum(turn.prompt_tokens for turn in each) / n,
                sum(turn.tokens for turn in each) / n, sum(turn.seconds for turn in each) / n)  # fmt: skip


def _voted(records: Sequence[Sequence[Record]], k: int) -> Cost:
    """Return the cost of a vote of k samples."""
    blocks = [[own[start : start + k] for start in range(0, len(own) - k + 1, k)] for own in records]
    each = [block for own in blocks for block in own]
    right = (Fraction(sum(polled(block).correct for block in own), len(own)) for own in blocks)
    return Cost(
        f"vote of {k}", Mean.of(right), sum(map(prompt_tokens_of, each)) / len(each),
        sum(record.tokens for block in each for record in block) / len(each),
        sum(record.seconds for block in each for record in block) / len(each),
    )  # fmt: skip
