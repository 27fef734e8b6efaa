"""A model measured on problems, from Python: the figures that `mlx-trace eval` prints, with intervals and records."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from mlx_trace.api import html
from mlx_trace.api.arguments import check_fields_told, check_report, path_of
from mlx_trace.api.model import DecodingSettings, Model, decoding_of, load, sampling_of
from mlx_trace.api.problems import problems_of
from mlx_trace.api.quiet import quietly
from mlx_trace.config import STRATA_KEY
from mlx_trace.config_reinforce import MAX_TOKENS
from mlx_trace.errors import UserError
from mlx_trace.evaluate.counted import Counted, count
from mlx_trace.evaluate.polled import PollSummary
from mlx_trace.evaluate.record import Summary
from mlx_trace.evaluate.stats import Mean, Rate
from mlx_trace.files import write_atomically
from mlx_trace.json_text import parse_json
from mlx_trace.notice import safe
from mlx_trace.resources import expanded
from mlx_trace.run_files import SUMMARY

if TYPE_CHECKING:
    from mlx_trace.problems.problem import Problem

By = Literal["expert", "steps", "length", "numbers", "source"]


@dataclass(frozen=True, slots=True, repr=False)
class Evaluated:
    """What was measured: `correct` is a count with its `share` and 95% `interval`, by one reply a problem or the vote.

    `counted` has what is counted besides, `by` kinds of problems too; `described` is what was measured, and how.
    """

    counted: Counted
    described: dict[str, Any]
    by: By

    @property
    def n(self) -> int:
        """Return how many problems there were."""
        return self.correct.n

    @property
    def correct(self) -> Rate:
        """Return how many answers are right: of several samples, those that the votes say."""
        return _right(self.counted.total)

    @property
    def valid(self) -> Rate | Mean:
        """Return how many traces ran to an answer."""
        return self.counted.total.valid

    @property
    def parsed(self) -> Rate | Mean:
        """Return how many replies are traces."""
        return self.counted.total.parsed

    @property
    def accuracy(self) -> float:
        """Return the share that is right."""
        return self.correct.share

    @property
    def interval(self) -> tuple[float, float]:
        """Return its 95% interval."""
        return self.correct.interval

    @property
    def strata(self) -> dict[str, Rate]:
        """Return how many are right, by kind of problem."""
        return {name: _right(summary) for name, summary in self.counted.strata.items()}

    @property
    def causes(self) -> dict[str, int]:
        """Return why others are wrong, and how often, the most frequent first."""
        return self.counted.causes

    @property
    def records(self) -> list[dict[str, Any]]:
        """Return a flat object a problem, as `mlx-trace eval -o` writes them: for pandas, as they are."""
        return [parse_json(row.as_json()) for row in self.counted.rows]

    def as_json(self) -> dict[str, Any]:
        """Return what `mlx-trace eval --json` prints."""
        return self.described | self.counted.as_json(STRATA_KEY[self.by])

    def save(self, path: str | Path) -> None:
        """Write the records to FILE.jsonl and the figures to FILE.summary.json, as `compare` and `report` read them."""
        file = expanded(path_of(path, "path"))
        write_atomically(file, (row.as_json() + "\n" for row in self.counted.rows))
        figures = json.dumps(self.as_json(), ensure_ascii=False, indent=1)
        write_atomically(file.with_suffix(SUMMARY), [figures + "\n"])

    def __repr__(self) -> str:
        return safe(f"Evaluated({self.described['model']!r} on {self.described['data']!r}: {self.correct})")

    def _repr_html_(self) -> str:
        rows = [(name, rate.n, rate.brief()) for name, rate in self.strata.items()]
        return html.table((self.by, "n", "correct"), [*rows, ("all", self.n, self.correct.brief())])


def _right(summary: Summary | PollSummary) -> Rate:
    return summary.vote if isinstance(summary, PollSummary) else summary.correct


@quietly
def evaluate(
    model: Model | str | Path, data: "str | Path | Iterable[Problem | Mapping[str, Any]]" = "synthetic",
    n: int | None = None, *, samples: int = 1, temperature: float | None = None, max_tokens: int = MAX_TOKENS,
    seed: int = 0, repair: int = 0, by: By = "expert", batch_size: int | None = None,
    fields: Mapping[str, str] | None = None, report: Callable[[int, int], None] = lambda done, total: None,
    **decoding: Unpack[DecodingSettings],
) -> Evaluated:  # fmt: skip
    """Measure a model on a suite (`synthetic`, `phrasing`, `everyday`), a file, or rows with question and answer.

    `report` is called with how many replies are done, and of how many. Everything else means what it means to
    `mlx-trace eval`; Ctrl-C ends it, and nothing is kept.

    >>> import mlx_trace
    >>> measured = mlx_trace.evaluate(mlx_trace.load("tiny"), [{"question": "What is 2 eggs and 3 eggs?", "answer": 5}])
    >>> measured.n, len(measured.records)
    (1, 1)
    >>> low, high = measured.interval
    """
    from mlx_trace.decode.engine import MAX_SEQUENCES
    from mlx_trace.evaluate.evaluate import Watcher, sample
    from mlx_trace.evaluate.way import ReplyWay

    params, held = sampling_of(samples, temperature, max_tokens, seed), decoding_of(decoding)
    _check(by, repair, batch_size)
    check_fields_told(fields)
    check_report(report)
    problems = problems_of(data, n, dict(fields) if fields else None, seed)  # before a model is loaded
    asked = model if isinstance(model, Model) else load(model)
    asked.check_thread()
    if repair:
        asked.prompter.check_turns()
    watcher = Watcher(lambda done: report(done, samples * len(problems)))
    way = ReplyWay(params, held, repair)
    records = sample(asked.base, asked.prompter, problems, way, batch_size or MAX_SEQUENCES, watcher)
    named = str(data) if isinstance(data, str | Path) else f"{len(problems)} rows"
    adapter = None if asked.adapter_path is None else str(asked.adapter_path)
    described = {"model": asked.name, "adapter": adapter, "data": named, **way.as_json()}
    return Evaluated(count(records, by), described, by)


def _check(by: str, repair: int, batch_size: int | None) -> None:
    faults = [f"by is {by!r}, not one of {', '.join(STRATA_KEY)}"] if by not in STRATA_KEY else []
    if type(repair) is not int or repair < 0:
        faults.append(f"repair is {repair!r}, not a whole number from 0")
    if batch_size is not None and (type(batch_size) is not int or batch_size < 1):
        faults.append(f"batch_size is {batch_size!r}, not a whole number from 1")
    if faults:
        raise UserError(*faults)
