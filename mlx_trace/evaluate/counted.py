"""The records of an evaluation, counted: all and by kinds of problems, what they took, and why others are wrong.

Takes the records of one reply a problem or of several. Knows nothing of tables.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlx_trace.evaluate.polled import Polled, PollSummary, polled, summarise_polls
from mlx_trace.evaluate.record import Record, Summary, summarise
from mlx_trace.evaluate.strata import strata


@dataclass(frozen=True, slots=True)
class Counted:
    """What was measured, by one reply a problem or by several: rows to write, and counts of all and of strata."""

    records: Sequence[Sequence[Record]]
    rows: Sequence[Record | Polled]
    total: Summary | PollSummary
    strata: Mapping[str, Summary | PollSummary]

    @property
    def causes(self) -> dict[str, int]:
        """Return why rows are wrong, and how often, the most frequent first."""
        return dict(Counter(cause for row in self.rows if (cause := row.cause)).most_common())

    def spent(self) -> dict[str, float]:
        """Return what all replies took."""
        replies = [record for own in self.records for record in own]
        return {
            "truncated": sum(record.truncated for record in replies),
            "prompt_tokens": sum(row.prompt_tokens for row in self.rows),
            "tokens": sum(record.tokens for record in replies),
            "sampled": sum(record.sampled for record in replies),
            "seconds": round(sum(record.seconds for record in replies), 2),
        }

    def as_json(self, by: str) -> dict[str, Any]:
        """Return the counts of all and of strata, what they took, and why others are wrong, as JSON."""
        apart = {name: summary.as_json() for name, summary in self.strata.items()}
        return {**self.total.as_json(), **self.spent(), by: apart, "causes": self.causes}


def count(records: Sequence[Sequence[Record]], by: str) -> Counted:
    """Count the replies to problems, all and by strata."""
    if len(records[0]) == 1:
        single = [record for (record,) in records]
        return Counted(records, single, summarise(single), {name: summarise(own) for name, own in strata(by, single)})
    polls, samples = [polled(own) for own in records], len(records[0])
    apart = {name: summarise_polls(own, samples) for name, own in strata(by, polls)}
    return Counted(records, polls, summarise_polls(polls, samples), apart)
