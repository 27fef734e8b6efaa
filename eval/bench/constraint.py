"""What the constraint does to quality: one adapter, greedy, with none, scope, scope with grounding, and rules beside.

    python eval/bench/constraint.py [--rows GSM8K-train.jsonl] [--adapter-path RUN] [-n 500] [--json]

On new numbers, new wording and, with rows, worked problems (every so-manieth of the file): counts with 95% Wilson
intervals, exact McNemar tests against no constraint on the same problems, and tokens spent.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mlx_trace.cli.options import add_model_options, load_named
from mlx_trace.config_decoding import Decoding
from mlx_trace.config_reinforce import MAX_TOKENS
from mlx_trace.evaluate.evaluate import evaluate
from mlx_trace.evaluate.record import Record, summarise
from mlx_trace.evaluate.stats import mcnemar
from mlx_trace.evaluate.suites import suite
from mlx_trace.model.prompts import Prompter
from mlx_trace.problems.problem import Problem
from mlx_trace.resources import adapters_dir

SETTINGS = {
    "none": Decoding(constraint="none"),
    "scope": Decoding(constraint="scope", grounding="off"),
    "scope, grounded": Decoding(constraint="scope", grounding="hard"),
    "scope, grounded, rules": Decoding(constraint="scope", grounding="hard", rules="all"),
}


def sets(n: int, rows: Path | None) -> dict[str, list[Problem]]:
    """Return the problems of each set."""
    chosen = {name: suite(name, n) for name in ("synthetic", "phrasing")}
    if rows is not None:
        every = suite(str(rows))
        chosen["GSM-8K, training split"] = every[:: max(1, len(every) // n)][:n]
    return chosen


def described(records: list[Record], free: list[Record]) -> dict[str, Any]:
    """Return the counts of one setting, its tokens, and the paired comparison with no constraint."""
    lost, won, p = mcnemar([record.correct for record in free], [record.correct for record in records])
    return summarise(records).as_json() | {
        "tokens": sum(record.tokens for record in records), "sampled": sum(record.sampled for record in records),
        "seconds": round(sum(record.seconds for record in records), 1), "truncated": sum(r.truncated for r in records),
        "newly_right": won, "no_longer_right": lost, "p": p,
    }  # fmt: skip


def measure(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Evaluate every setting on every set."""
    base, prompt = load_named(options)
    prompter = Prompter(base.tokenizer, prompt)
    found: dict[str, dict[str, Any]] = {}
    for name, problems in sets(options.n, options.rows).items():
        records = {label: evaluate(base, prompter, problems, options.max_tokens, decoding)
                   for label, decoding in SETTINGS.items()}  # fmt: skip
        found[name] = {label: described(those, records["none"]) for label, those in records.items()}
    return found


def table(found: dict[str, dict[str, Any]]) -> Table:
    """Return the figures, a line a setting."""
    shown = Table(box=None, pad_edge=False)
    for heading in ("", "", "n", "parsed", "valid", "correct", "won", "lost", "p", "tokens", "sampled", "seconds"):
        shown.add_column(heading, justify="left" if heading == "" else "right")
    for name, settings in found.items():
        for label, row in settings.items():
            low, high = row["correct"]["interval"]
            correct = f"{row['correct']['count']} = {row['correct']['share']:.1%} [{100 * low:.1f}, {100 * high:.1f}]"
            shown.add_row(name, label, str(row["n"]), str(row["parsed"]["count"]), str(row["valid"]["count"]), correct,
                          str(row["newly_right"]), str(row["no_longer_right"]), f"{row['p']:.2g}",
                          f"{row['tokens']:,}", f"{row['sampled']:,}", f"{row['seconds']:.0f}")  # fmt: skip
            name = ""
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, metavar="FILE.jsonl", help="problems with answers, such as GSM-8K's")
    parser.add_argument("-n", type=int, default=500, metavar="N", help="problems of each set (default 500)")
    parser.add_argument("--max-tokens", type=int, default=MAX_TOKENS, metavar="N")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_model_options(parser)
    parser.set_defaults(adapter_path=adapters_dir() / "tiny")
    options = parser.parse_args()
    found = measure(options)
    if options.json:
        print(json.dumps(found))
    else:
        Console(highlight=False, width=160).print(table(found))


if __name__ == "__main__":
    main()
