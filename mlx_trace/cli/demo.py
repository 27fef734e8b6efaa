"""`mlx-trace demo`: teach the tiny base some experts by SFT and RL, measured before and after, and show three solved.

Every figure is measured as it runs. The last line is one JSON object.
"""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from mlx_trace.cli.ledger import print_ledger
from mlx_trace.cli.options import at_least
from mlx_trace.cli.output import as_word, show_json
from mlx_trace.cli.progress import progress, watching
from mlx_trace.cli.screen import Screen, patient_screen
from mlx_trace.cli.train import INTERRUPTED, show_plan
from mlx_trace.cli.ways import describe
from mlx_trace.config_decoding import Decoding
from mlx_trace.config_file import find_config, load_config
from mlx_trace.config_sources import SyntheticSource
from mlx_trace.language.syntax import NoTrace, parse
from mlx_trace.notice import tell

if TYPE_CHECKING:
    from mlx_trace.evaluate.record import Record, Summary
    from mlx_trace.model.base import Base
    from mlx_trace.model.prompts import Prompter
    from mlx_trace.problems.problem import Problem


def add_demo_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--adapter-path", type=Path, default=Path("adapters/demo"), metavar="RUN",
                        help="where to leave the adapter (default %(default)s; replaced)")  # fmt: skip
    parser.add_argument("-n", type=at_least(3), default=150, metavar="N",
                        help="how many problems to measure on (default %(default)s)")  # fmt: skip


def run_demo(options: argparse.Namespace) -> int:
    began = time.perf_counter()
    console = patient_screen()
    config = load_config(find_config("demo"), {"adapter_path": options.adapter_path})
    from mlx_trace.evaluate.suites import suite
    from mlx_trace.model.prompts import Prompter
    from mlx_trace.train.interrupt import Interrupted
    from mlx_trace.train.run import check_folder, plan, train

    check_folder(config, overwrite=True)

    taught = [name for source in config.data if isinstance(source, SyntheticSource) for name in source.schemas]
    console.print(
        f"The tiny base learns to write traces of {', '.join(taught) or 'all experts'}: {options.n} held-out problems "
        "of those before, after SFT, after RL."
    )
    problems = {name: suite(name, options.n, taught) for name in ("synthetic", "phrasing")}
    with watching() as watch:
        planned = plan(config, watch=watch)
    show_plan(console, planned)
    measured = _Measurement(console, planned.base, Prompter(planned.base.tokenizer, config.prompt), problems,
                            config.reinforce.max_tokens, config.decoding)  # fmt: skip
    measured.take("before")
    try:
        with progress(console) as report:
            for doubt in train(planned, report, overwrite=True, after_phase=measured.take):
                tell(doubt)
    except Interrupted:
        console.print("stopped; run it again to start over")
        return INTERRUPTED
    unconstrained = measured.unconstrained()
    console.print(measured.table(), soft_wrap=False)
    console.print(
        "without the constraint, after RL: parsed {parsed}, valid {valid}, correct {correct}".format(**unconstrained)
    )
    console.print(measured.compare("sft", "rl"))
    measured.show_solved(3)
    _tell_next(console, options.adapter_path)
    show_json(measured.as_json() | {"unconstrained": unconstrained, "seconds": round(time.perf_counter() - began, 1)})
    return 0


def _tell_next(console: Screen, adapter_path: Path) -> None:
    """Say where the adapter is, and what to ask now."""
    console.print(f"The adapter is in {adapter_path}. Ask it something: ", end="")
    console.print(f"mlx-trace chat --adapter-path {as_word(adapter_path)}", style="bold")
    console.print("For what people ask there is a pretrained one, with its adapter bundled: ", end="")
    console.print("mlx-trace chat --model smollm2-135m", style="bold")


class _Measurement:
    """What the model does on the two suites at each stage."""

    def __init__(
        self, console: Screen, base: "Base", prompter: "Prompter", problems: "dict[str, list[Problem]]",
        max_tokens: int, decoding: Decoding,
    ) -> None:  # fmt: skip
        self.console, self.base, self.prompter, self.problems = console, base, prompter, problems
        self.max_tokens, self.decoding = max_tokens, decoding
        self.records: dict[str, dict[str, list[Record]]] = {}

    def take(self, stage: str) -> None:
        """Evaluate on every suite, greedily, held to traces as the configuration says."""
        from mlx_trace.evaluate.evaluate import evaluate
        from mlx_trace.evaluate.record import summarise

        self.records[stage] = {}
        for name, problems in self.problems.items():
            began = time.perf_counter()
            records = evaluate(self.base, self.prompter, problems, self.max_tokens, self.decoding)
            self.records[stage][name] = records
            self.console.print(f"{stage}, {name}: correct {summarise(records).correct} "
                               f"({time.perf_counter() - began:.0f}s)")  # fmt: skip

    def unconstrained(self) -> dict[str, int]:
        """Return the counts on the first suite with nothing to hold the replies."""
        from mlx_trace.evaluate.evaluate import evaluate
        from mlx_trace.evaluate.record import summarise

        free = self.decoding.model_copy(update={"constraint": "none"})
        records = evaluate(self.base, self.prompter, self.problems["synthetic"], self.max_tokens, free)
        return _counts(summarise(records))

    def table(self) -> Table:
        """Return the stages, a line each."""
        from mlx_trace.evaluate.record import summarise

        n = len(next(iter(self.records["before"].values())))
        title = f"{n} held-out problems, greedy, {describe(self.decoding)}: count, share, 95% interval"
        shown = Table(title=title, title_justify="left", box=None)
        for heading in ("", "parsed", "valid", "correct", "correct, new wording"):
            shown.add_column(heading, justify="right")
        for stage, suites in self.records.items():
            total = summarise(suites["synthetic"])
            shown.add_row(stage, total.parsed.brief(), total.valid.brief(), total.correct.brief(),
                          summarise(suites["phrasing"]).correct.brief())  # fmt: skip
        return shown

    def compare(self, first: str, second: str) -> str:
        """Return the paired comparison of two stages on the same problems."""
        from mlx_trace.evaluate.stats import mcnemar

        right = {stage: [record.correct for record in self.records[stage]["synthetic"]] for stage in (first, second)}
        only_first, only_second, p = mcnemar(right[first], right[second])
        return (f"{second} against {first}, same problems: {only_second} newly right, {only_first} no longer right; "
                f"exact McNemar p = {p:.2g}")  # fmt: skip

    def show_solved(self, count: int) -> None:
        """Print questions that the trained model solved, one an expert, with their ledgers."""
        solved: dict[str | None, Record] = {}
        for record in self.records["rl"]["synthetic"]:
            if record.correct:
                solved.setdefault(record.problem.gold_expert, record)
        for record in list(solved.values())[:count]:
            trace = parse(record.output)
            if not isinstance(trace, NoTrace):
                self.console.print(f"\n{record.problem.question}", style="bold", markup=False)
                print_ledger(self.console, trace)
        self.console.print()

    def as_json(self) -> dict[str, Any]:
        from mlx_trace.evaluate.record import summarise

        return {
            stage: _counts(summarise(suites["synthetic"])) | {"phrasing": summarise(suites["phrasing"]).correct.count}
            for stage, suites in self.records.items()
        }


def _counts(total: "Summary") -> dict[str, int]:
    return {"n": total.parsed.n, "parsed": total.parsed.count, "valid": total.valid.count,
            "correct": total.correct.count}  # fmt: skip
