"""`mlx-trace eval`: counts with their intervals for a person, JSON for a program, records for a closer look."""

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from mlx_trace.cli.options import (
    add_decoding_options,
    add_field_option,
    add_model_options,
    at_least,
    decoding_of,
    load_named,
)
from mlx_trace.cli.output import show_json
from mlx_trace.cli.screen import Screen
from mlx_trace.config import RULES, Decoding
from mlx_trace.errors import UserError
from mlx_trace.evaluate.suites import DEFAULT_SIZE
from mlx_trace.files import check_output, write_atomically

if TYPE_CHECKING:
    from mlx_trace.evaluate.evaluate import Record, Summary


def add_eval_options(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser)
    parser.add_argument("--data", default="synthetic", metavar="synthetic|phrasing|everyday|FILE",
                        help="new numbers (default), new wording, thirty everyday questions, or problems of your own "
                             "(JSONL, a JSON array, CSV, TSV, Parquet, a data set of the hub)")  # fmt: skip
    add_field_option(parser)
    parser.add_argument("-n", type=at_least(1), metavar="N",
                        help=f"how many (default {DEFAULT_SIZE} of what is drawn, all of a set or file)")  # fmt: skip
    add_decoding_options(parser)
    parser.add_argument("--batch-size", type=at_least(1), default=64, metavar="N",
                        help="prompts decoded at once (default %(default)s; fewer take less memory)")  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.jsonl", help="write a record of every problem")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run_eval(options: argparse.Namespace) -> int:
    from mlx_trace.evaluate.suites import suite
    from mlx_trace.problems.fields import parse_told

    if options.output is not None:
        check_output(options.output)
    problems = suite(options.data, options.n, fields=parse_told(options.field))  # before a model is loaded
    base, prompt = load_named(options)
    from mlx_trace.evaluate.evaluate import by_expert, evaluate, summarise
    from mlx_trace.model.prompts import Prompter

    console = Screen(stderr=True)
    prompter, decoding = Prompter(base.tokenizer, prompt), decoding_of(options)
    with console.status("") as status:
        records = evaluate(base, prompter, problems, options.max_tokens, decoding, options.batch_size,
                           lambda done: status.update(f"{done} of {len(problems)}"))  # fmt: skip
    unwritten = None if options.output is None else _write(options.output, records)
    total, experts = summarise(records), by_expert(records)
    if options.json:
        described = {"model": base.name, "adapter": None if options.adapter_path is None else str(options.adapter_path)}
        described |= {"data": options.data, **decoding.model_dump()}
        show_json(described | _as_json(total, experts, records))
    else:
        shown = Screen()
        shown.print(table(f"{options.data}, {describe(decoding)}", total, experts))
        spent = "{tokens:,} tokens ({sampled:,} sampled) in {seconds:.0f} s; {truncated} replies cut off".format(
            **_spent(records)
        )
        with_adapter = f" with {options.adapter_path}" if options.adapter_path is not None else ""
        shown.print(f"{base.name}{with_adapter}: {spent} at {options.max_tokens} tokens", style="dim")
    if unwritten is not None:
        raise unwritten
    return 0


def _write(path: Path, records: "list[Record]") -> UserError | None:
    """Write the records; where that fails, keep them elsewhere, and return the fault, which is told at the end."""
    lines = [record.as_json() + "\n" for record in records]
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


def _spent(records: "list[Record]") -> dict[str, float]:
    return {
        "truncated": sum(record.truncated for record in records),
        "tokens": sum(record.tokens for record in records),
        "sampled": sum(record.sampled for record in records),
        "seconds": round(sum(record.seconds for record in records), 2),
    }


def _as_json(total: "Summary", experts: "dict[str, Summary]", records: "list[Record]") -> dict[str, Any]:
    by_expert = {name: summary.as_json() for name, summary in experts.items()}
    return total.as_json() | _spent(records) | {"experts": by_expert}


def table(title: str, total: "Summary", experts: "dict[str, Summary]") -> Table:
    """Return the counts as a table, a line an expert: n, and every count with its share and 95% Wilson interval."""
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in ("", "n", "parsed", "valid", "correct"):
        shown.add_column(heading, justify="left" if heading == "" else "right")
    for name, summary in [*experts.items(), ("all", total)]:
        rates = (rate.brief() for rate in (summary.parsed, summary.valid, summary.correct))
        shown.add_row(name, str(summary.parsed.n), *rates, style="bold" if name == "all" else "")
    return shown
