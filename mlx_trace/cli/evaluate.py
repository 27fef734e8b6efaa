"""`mlx-trace eval`: counts with their intervals for a person, JSON for a program, records for a closer look."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlx_trace.cli.asking import NEAREST, Evaluation
from mlx_trace.cli.conclusion import conclude
from mlx_trace.cli.options import (
    FORMATS,
    add_decoding_options,
    add_field_option,
    add_model_options,
    add_sampling_options,
    add_strata_option,
    at_least,
    load_named,
)
from mlx_trace.cli.output import output_file, show_json
from mlx_trace.cli.records import file_of, write_records
from mlx_trace.cli.screen import Screen
from mlx_trace.cli.ways import AGAINST, AskedWay, ways_of
from mlx_trace.destination import check_apart
from mlx_trace.errors import UserError
from mlx_trace.evaluate.suites import DEFAULT_SIZE
from mlx_trace.files import check_output, is_stream
from mlx_trace.run_files import SUMMARY

if TYPE_CHECKING:
    from mlx_trace.evaluate.nearest import Nearest

_MOST_REPAIRS: Final = 16
_MOST_EXAMPLES: Final = 64


def add_eval_options(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser)
    parser.add_argument("--data", default="synthetic", metavar="synthetic|phrasing|everyday|FILE",
                        help="synthetic: new numbers (default); phrasing: new wording; everyday: thirty everyday "
                             f"questions; or problems of your own ({FORMATS})")  # fmt: skip
    add_field_option(parser)
    parser.add_argument("-n", "--limit", dest="n", type=at_least(1), metavar="N",
                        help="how many problems: of a set or file a random sample drawn by --seed, in its order; "
                             f"unless given {DEFAULT_SIZE} of what is generated, and all of a set or file")  # fmt: skip
    parser.add_argument("--final", action="store_true",
                        help="the data is for final figures: how often it was looked at is counted and said, as for "
                             "data that is called test")  # fmt: skip
    add_decoding_options(parser)
    add_sampling_options(parser)
    _add_way_options(parser)
    parser.add_argument("--batch-size", type=at_least(1), default=64, metavar="N",
                        help="replies decoded at once (default %(default)s; fewer take less memory)")  # fmt: skip
    parser.add_argument("--gold-loss", action="store_true",
                        help="measure no answers, but what the problems' gold traces cost the model: its mean loss a "
                             "choice, by what is chosen; quick, and tells runs apart by few problems")  # fmt: skip
    add_strata_option(parser)
    parser.add_argument("-o", "--output", type=output_file, metavar="FILE.jsonl",
                        help="write a record of every problem (FILE.WAY.jsonl for --against), and a summary to "
                             "FILE.summary.json")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _add_way_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repair", type=at_least(0, _MOST_REPAIRS), default=0, metavar="R",
                        help="give a reply that is no trace, or does not run, back with the solver's message, up to R "
                             "times (default %(default)s); that an answer is wrong is never said")  # fmt: skip
    parser.add_argument("--examples-from", type=Path, metavar="FILE",
                        help="show solved problems like the question before it: those of a file with traces, or with "
                             "solutions that compile, never the problem itself or its text with other numbers"
    )  # fmt: skip
    parser.add_argument("--nearest", type=at_least(1, _MOST_EXAMPLES), metavar="K",
                        help=f"how many of --examples-from (default {NEAREST}), fewer where the model has no room"
    )  # fmt: skip
    parser.add_argument("--against", nargs="+", action="extend", choices=tuple(AGAINST), default=[], metavar="WAY",
                        help="ask a second time in another way, and compare problem by problem: "
                             + ", ".join(f"{name} ({meaning})" for name, meaning in AGAINST.items()))  # fmt: skip


def run_eval(options: argparse.Namespace) -> int:
    from mlx_trace.evaluate.suites import draw
    from mlx_trace.problems.fields import parse_told

    ways = ways_of(options)
    if options.nearest is not None and options.examples_from is None:
        raise UserError(f"--nearest {options.nearest}: of which problems is not said: --examples-from FILE")
    _check_outputs(options, ways)
    drawn = draw(options.data, options.n, parse_told(options.field), options.seed or 0)  # before a model is loaded
    nearest = _read_nearest(options.examples_from)
    base, prompt = load_named(options)
    from mlx_trace.model.prompts import Prompter

    evaluation = Evaluation(options, base, Prompter(base.tokenizer, prompt), drawn)
    if options.gold_loss:
        return _measure_loss(evaluation, ways[0])
    if nearest is not None or options.repair:
        evaluation.prompter.check_turns()
    examples = None if nearest is None else evaluation.examples(nearest)
    asked = [evaluation.measure(way, examples if way.has_examples else None) for way in ways]
    return conclude(evaluation, asked, examples)


def _check_outputs(options: argparse.Namespace, ways: Sequence[AskedWay]) -> None:
    output, sources = options.output, [Path(options.data), *([options.examples_from] if options.examples_from else [])]
    if output is None:
        return
    if is_stream(output) and len(ways) > 1:
        raise UserError(f"{output}: is no file, beside which --against could write records of its own")
    for asked in ways:
        file = file_of(output, asked.name)
        for path in (file, *([] if is_stream(file) else [file.with_suffix(SUMMARY)])):
            check_output(path)
            check_apart(path, sources)


def _read_nearest(path: Path | None) -> "Nearest | None":
    if path is None:
        return None
    from mlx_trace.evaluate.nearest import read_nearest

    with Screen(stderr=True).status(f"reading examples of {path.name}"):
        return read_nearest(path)


def _measure_loss(evaluation: Evaluation, asked: AskedWay) -> int:
    """Measure the loss on the problems' gold traces in place of answers."""
    from mlx_trace.cli.gold_loss import LossCounts
    from mlx_trace.train.gold_loss import gold_losses

    options, problems = evaluation.options, evaluation.drawn.problems
    with Screen(stderr=True).status("") as status:
        losses = list(gold_losses(evaluation.base, evaluation.prompter, problems, asked.way.decoding,
                                  lambda done: status.update(f"{done} of {len(problems)}")))  # fmt: skip
    unwritten = None if options.output is None else write_records(options.output, losses)
    counts = LossCounts(losses)
    if options.json:
        show_json(evaluation.described(asked) | counts.as_json())
    else:
        counts.show(options.data)
    if unwritten is not None:
        raise unwritten
    return 0
