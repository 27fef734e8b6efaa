"""What came out of a sweep: a row an arm, its measurements with intervals, each compared with the first arm's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from statistics import fmean

from mlx_trace.evaluate.records import read_records
from mlx_trace.evaluate.stats import Mean, mean_interval, sign_test
from mlx_trace.sweep.file import Measure
from mlx_trace.sweep.runs import SweepRun


@dataclass(frozen=True)
class Outcome:
    """An arm's runs, and what was measured of them, a problem by a problem."""

    arm: str
    runs: Sequence[SweepRun]
    measures: Sequence[Measure]

    @cached_property
    def took(self) -> dict[str, float]:
        """Return the mean updates, tokens and seconds of the runs that are done; nothing if none is."""
        done = [took for run in self.runs if (took := run.done()) is not None]
        return {key: fmean(took[key] for took in done) for key in done[0]} if done else {}

    def seeds(self, number: int) -> int:
        """Return how many runs were measured on a set."""
        return sum(run.is_measured(self.measures[number]) for run in self.runs)

    @cached_property
    def scores(self) -> list[dict[str, Fraction]]:
        """Return for each measurement the mean score over seeds by problem: 1 if right, or the loss of what decides."""
        return [self._scores(measure) for measure in self.measures]

    def _scores(self, measure: Measure) -> dict[str, Fraction]:
        by_problem: dict[str, list[Fraction]] = {}
        for run in self.runs:
            if run.is_measured(measure):
                for name, row in read_records(run.result(measure).with_suffix(".jsonl")).measured.items():
                    by_problem.setdefault(name, []).append(Fraction(row.score))
        return {name: sum(scores, Fraction()) / len(scores) for name, scores in by_problem.items()}

    def cell(self, number: int) -> str:
        """Return the mean with its 95% interval over problems, and n; a dash if nothing was measured."""
        scores = list(self.scores[number].values())
        if not scores:
            return "–"
        if self.measures[number].gold_loss:
            mean, low, high = mean_interval(list(map(float, scores)))
            return f"{mean:.3f} [{low:.3f}, {high:.3f}]"
        return Mean.of(scores).brief()

    def against(self, first: "Outcome", number: int) -> str:
        """Return how it differs from another arm on the problems that both were measured on."""
        own, other = self.scores[number], first.scores[number]
        both = [(float(other[name]), float(own[name])) for name in own if name in other]
        if not both:
            return "–"
        if self.measures[number].gold_loss:
            mean, low, high = mean_interval([after - before for before, after in both])
            return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"
        better, worse = (sum(after > before for before, after in both), sum(after < before for before, after in both))
        return f"+{better} −{worse}, p = {sign_test(better, worse):.2g}"


def table(
    runs: Sequence[SweepRun], measures: Sequence[Measure], reported: Mapping[str, Mapping[str, str]] = {}
) -> tuple[list[str], list[list[str]]]:
    """Return the headings and a row an arm: what training took, each measurement, and how it differs from the first.

    What was `reported` of an arm elsewhere stands before that.
    """
    told = list(dict.fromkeys(heading for figures in reported.values() for heading in figures))
    arms = dict.fromkeys(run.arm for run in runs)
    outcomes = [Outcome(arm, [run for run in runs if run.arm == arm], measures) for arm in arms]
    first = outcomes[0]
    headings = ["", *told, "seeds", "updates", "tokens", "minutes"]
    for number, measure in enumerate(first.measures):
        headings += [f"{measure} (n {len(first.scores[number])})", f"against {first.arm}"]
    rows = []
    for outcome in outcomes:
        took = outcome.took
        row = [outcome.arm, *(reported.get(outcome.arm, {}).get(heading, "–") for heading in told)]
        row.append(str(max(outcome.seeds(number) for number in range(len(outcome.measures)))))
        row += [f"{took[key]:,.0f}" if took else "–" for key in ("updates", "tokens")]
        row.append(f"{took['seconds'] / 60:.1f}" if took else "–")
        for number in range(len(outcome.measures)):
            row += [outcome.cell(number), "" if outcome is first else outcome.against(first, number)]
        rows.append(row)
    return headings, rows


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table as lines of Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines]
