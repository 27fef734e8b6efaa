"""`mlx-trace eval`: counts with their intervals for a person, JSON for a program, records for a closer look."""

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rich.table import Table

from mlx_trace.cli.options import (
    STRATA_KEY,
    add_decoding_options,
    add_field_option,
    add_model_options,
    add_sampling_options,
    add_strata_option,
    at_least,
    decoding_of,
    load_named,
    sampling_of,
)
from mlx_trace.cli.output import show_json
from mlx_trace.cli.progress import clock
from mlx_trace.cli.screen import Screen
from mlx_trace.config import RULES, Decoding, Prompt
from mlx_trace.errors import UserError
from mlx_trace.evaluate.suites import DEFAULT_SIZE
from mlx_trace.files import check_output, is_stream, sha256, write_atomically
from mlx_trace.notice import tell

if TYPE_CHECKING:
    from mlx_trace.decode.params import SamplingParams
    from mlx_trace.evaluate.evaluate import Record, Summary
    from mlx_trace.evaluate.kept import KeptRecords
    from mlx_trace.evaluate.polled import Polled, PollSummary
    from mlx_trace.model.base import Base
    from mlx_trace.model.prompts import Prompter
    from mlx_trace.problems.problem import Problem
    from mlx_trace.train.gold_loss import GoldLoss


def add_eval_options(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser)
    parser.add_argument("--data", default="synthetic", metavar="synthetic|phrasing|everyday|FILE",
                        help="new numbers (default), new wording, thirty everyday questions, or problems of your own "
                             "(JSONL, a JSON array, CSV, TSV, Parquet, a data set of the hub)")  # fmt: skip
    add_field_option(parser)
    parser.add_argument("-n", type=at_least(1), metavar="N",
                        help=f"how many (default {DEFAULT_SIZE} of what is drawn, all of a set or file)")  # fmt: skip
    add_decoding_options(parser)
    add_sampling_options(parser)
    parser.add_argument("--batch-size", type=at_least(1), default=64, metavar="N",
                        help="replies decoded at once (default %(default)s; fewer take less memory)")  # fmt: skip
    parser.add_argument("--gold-loss", action="store_true",
                        help="measure no answers, but what the problems' gold traces cost the model: its mean loss a "
                             "choice, by what is chosen; quick, and tells runs apart by few problems")  # fmt: skip
    add_strata_option(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.jsonl", help="write a record of every problem")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run_eval(options: argparse.Namespace) -> int:
    from mlx_trace.evaluate.suites import suite
    from mlx_trace.problems.fields import parse_told

    params = sampling_of(options)
    if options.gold_loss and params.n > 1:
        raise UserError("--gold-loss reads gold traces and --samples draws replies; give one of them")
    if options.output is not None:
        check_output(options.output)
    problems = suite(options.data, options.n, fields=parse_told(options.field))  # before a model is loaded
    base, prompt = load_named(options)
    from mlx_trace.model.prompts import Prompter

    console = Screen(stderr=True)
    prompter, decoding = Prompter(base.tokenizer, prompt), decoding_of(options)
    if options.gold_loss:
        return _measure_loss(options, base, prompter, problems, console)
    records, kept = _sampled(options, base, prompter, problems, params, console)
    results = _results(records, params.n, options.by)
    unwritten = None if options.output is None else _write(options.output, results.rows)
    if kept and unwritten is None:
        kept.done()
    spent = _spent([record for own in records for record in own])
    if options.json:
        described = _described(options, base) | _sampling(params)
        apart = {name: summary.as_json() for name, summary in results.strata.items()}
        show_json(
            described | results.total.as_json() | spent | {STRATA_KEY[options.by]: apart, "causes": results.causes}
        )
    else:
        shown = Screen()
        shown.print(results.table(f"{options.data}, {describe(decoding)}"))
        if results.note:
            shown.print(results.note)
        if results.causes:
            told = ", ".join(f"{cause} {often}" for cause, often in results.causes.items())
            shown.print(f"why the others are wrong: {told}")
        with_adapter = f" with {options.adapter_path}" if options.adapter_path is not None else ""
        told = "{tokens:,} tokens ({sampled:,} sampled) in {seconds:.0f} s; {truncated} replies cut off".format(**spent)
        with_adapter += f", {describe_sampling(params)}" if params.temperature else ""
        shown.print(f"{base.name}{with_adapter}: {told} at {options.max_tokens} tokens", style="dim")
    if unwritten is not None:
        raise unwritten
    return 0


def _sampled(
    options: argparse.Namespace, base: "Base", prompter: "Prompter", problems: "Sequence[Problem]",
    params: "SamplingParams", console: Screen,
) -> "tuple[list[list[Record]], KeptRecords | None]":  # fmt: skip
    """Return the records of replies to all problems, and what has kept them while they came."""
    from mlx_trace.evaluate.evaluate import sample

    kept = _kept(options, base, prompter.prompt, problems, params)
    known = kept.known if kept else {}
    if kept and known:
        tell(f"{len(known)} of {len(problems)} records are in {kept.path}: going on")
    keep = [kept.keep] if kept else []
    try:
        with console.status("") as status:
            report = _reporter(status.update, params.n * len(problems), params.n * len(known))
            return sample(base, prompter, problems, params, decoding_of(options), options.batch_size, report, known,
                          *keep), kept  # fmt: skip
    except KeyboardInterrupt:
        if kept:
            tell(f"stopped; what is done is in {kept.path}, and the same command goes on")
        raise
    finally:
        if kept:
            kept.close()


def _kept(
    options: argparse.Namespace, base: "Base", prompt: "Prompt", problems: "Sequence[Problem]", params: "SamplingParams"
) -> "KeptRecords | None":
    """Return what keeps the records while they come; nothing where they are not written, or to a pipe."""
    from mlx_trace.evaluate.kept import KeptRecords
    from mlx_trace.model.adapter import ADAPTER_WEIGHTS

    if options.output is None or is_stream(options.output):
        return None
    adapter = "" if options.adapter_path is None else sha256(options.adapter_path / ADAPTER_WEIGHTS)
    settings = {**_described(options, base), "weights": adapter, "prompt": prompt.model_dump(), **asdict(params)}
    return KeptRecords(options.output, settings, problems, params.n)


def _reporter(show: Callable[[str], None], total: int, known: int) -> Callable[[int], None]:
    """Return what shows how many replies are done, and the time to come, given that so many were known before."""
    began = time.perf_counter()

    def report(done: int) -> None:
        left = (total - done) * (time.perf_counter() - began) / max(1, done - known)
        show(f"{done} of {total}" + (f", ETA {clock(left)}" if done < total else ""))

    return report


def _described(options: argparse.Namespace, base: "Base") -> dict[str, Any]:
    """Return what was measured, and how it was held."""
    adapter = None if options.adapter_path is None else str(options.adapter_path)
    return {"model": base.name, "adapter": adapter, "data": options.data, **decoding_of(options).model_dump()}


def _measure_loss(
    options: argparse.Namespace, base: "Base", prompter: "Prompter", problems: "Sequence[Problem]", console: Screen
) -> int:
    """Measure the loss on the problems' gold traces in place of answers."""
    from mlx_trace.evaluate.losses import SPELLED, deciding
    from mlx_trace.train.gold_loss import gold_losses

    with console.status("") as status:
        losses = list(gold_losses(base, prompter, problems, decoding_of(options),
                                  lambda done: status.update(f"{done} of {len(problems)}")))  # fmt: skip
    unwritten = None if options.output is None else _write(options.output, losses)
    kinds: dict[str, list[float]] = {}
    for own in losses:
        for kind, values in own.kinds.items():
            kinds.setdefault(kind, []).extend(values)
    deciders = deciding(kinds)
    spelled = [value for kind, values in kinds.items() if kind.endswith(SPELLED) for value in values]
    sums = {"what decides": deciders, "words that are spelled": spelled, "all": [*deciders, *spelled]}
    costliest = dict(sorted(kinds.items(), key=lambda item: -sum(item[1])))
    if options.json:
        means = {kind: {"choices": len(values), "mean": round(fmean(values), 5)}
                 for kind, values in {**sums, **costliest}.items() if values}  # fmt: skip
        show_json(_described(options, base) | {"n": len(losses), "loss": means})
    else:
        shown = Table(
            title=f"{options.data}: {len(losses)} gold traces", title_justify="left", box=None, pad_edge=False
        )
        for heading in ("", "choices", "mean loss", "of all"):
            shown.add_column(heading, justify="left" if heading == "" else "right")
        for kind, values in (*costliest.items(), *sums.items()):
            share = sum(values) / max(sum(sums["all"]), 1e-9)
            shown.add_row(kind, f"{len(values):,}", f"{fmean(values or [0]):.3f}", f"{share:.1%}",
                          style="bold" if kind in sums else "")  # fmt: skip
        Screen().print(shown)
    if unwritten is not None:
        raise unwritten
    return 0


def _write(path: Path, rows: "Sequence[Record | Polled | GoldLoss]") -> UserError | None:
    """Write the records; where that fails, keep them elsewhere, and return the fault, which is told at the end."""
    lines = [row.as_json() + "\n" for row in rows]
    try:
        write_atomically(path, lines)
    except UserError as error:
        kept = Path(tempfile.gettempdir()) / f"mlx-trace-{path.name}"
        try:
            write_atomically(kept, lines)
        except UserError as other:
            return UserError(*error.faults, *other.faults, "the records are not kept; the counts above are complete")
        return UserError(*error.faults, f"the records are in {kept} instead")
    return None


def describe(decoding: Decoding) -> str:
    """Return what replies are held to, in a few words."""
    if decoding.constraint == "none":
        return "unconstrained"
    grounded = ", values grounded" if decoding.grounding == "hard" else ""
    rules = decoding.chosen_rules
    return f"traces in scope{grounded}" + (f", {len(rules)} of {len(RULES)} rules" if rules else "")


def describe_sampling(params: "SamplingParams") -> str:
    """Return how replies were sampled, in a few words."""
    return f"{params.n} sample{'s' if params.n > 1 else ''} at temperature {params.temperature:g}, seed {params.seed}"


def _sampling(params: "SamplingParams") -> dict[str, Any]:
    """Return how replies were sampled; nothing where none were."""
    told = {"samples": params.n, "temperature": params.temperature, "seed": params.seed}
    return told if params.temperature else {}


def _spent(records: "list[Record]") -> dict[str, float]:
    return {
        "truncated": sum(record.truncated for record in records),
        "tokens": sum(record.tokens for record in records),
        "sampled": sum(record.sampled for record in records),
        "seconds": round(sum(record.seconds for record in records), 2),
    }


@dataclass(frozen=True, slots=True)
class _Results:
    """What was measured, by one reply a problem or by several: rows to write, and counts of all and of strata."""

    rows: "Sequence[Record | Polled]"
    total: "Summary | PollSummary"
    strata: "Mapping[str, Summary | PollSummary]"
    cells: Callable[[Any], dict[str, str]]
    note: str = ""  # beneath the table

    @property
    def causes(self) -> dict[str, int]:
        """Return why rows are wrong, and how often, the most frequent first."""
        return dict(Counter(cause for row in self.rows if (cause := row.cause)).most_common())

    def table(self, title: str) -> Table:
        """Return the counts as a table, a line a stratum: n, and every count with its share and 95% interval."""
        shown = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for heading in ("", *self.cells(self.total)):
            shown.add_column(heading, justify="left" if heading == "" else "right")
        for name, summary in self.strata.items():
            shown.add_row(name, *self.cells(summary).values())
        shown.add_row("all", *self.cells(self.total).values(), style="bold")
        return shown


def _results(records: "Sequence[Sequence[Record]]", samples: int, by: str) -> _Results:
    from mlx_trace.evaluate.evaluate import summarise
    from mlx_trace.evaluate.polled import polled, summarise_polls
    from mlx_trace.evaluate.strata import strata

    if samples == 1:
        single = [record for (record,) in records]
        return _Results(single, summarise(single), {name: summarise(own) for name, own in strata(by, single)}, _cells)
    polls = [polled(own) for own in records]
    total = summarise_polls(polls, samples)
    note = "the vote against the first sample: {1} newly right, {0} no longer right; exact McNemar p = {2:.2g}"
    apart = {name: summarise_polls(own, samples) for name, own in strata(by, polls)}
    return _Results(polls, total, apart, _poll_cells, note.format(*total.paired))


def _cells(summary: "Summary") -> dict[str, str]:
    rates = {"parsed": summary.parsed, "valid": summary.valid, "correct": summary.correct}
    return {"n": str(summary.parsed.n)} | {name: rate.brief() for name, rate in rates.items()}


def _poll_cells(summary: "PollSummary") -> dict[str, str]:
    samples = max(summary.passes)
    return {"n": str(summary.vote.n), "one sample": summary.one_sample.brief(),
            f"vote of {samples}": summary.vote.brief(), f"pass@{samples}": summary.passes[samples].brief()}  # fmt: skip
