"""`mlx-trace sweep`: several configurations are trained and measured, and compared in one table."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from mlx_trace.cli.output import show_json
from mlx_trace.cli.screen import Screen
from mlx_trace.errors import UserError, meant
from mlx_trace.files import write_atomically
from mlx_trace.numbered import numbered

if TYPE_CHECKING:
    from mlx_trace.sweep.processes import SweepLog
    from mlx_trace.sweep.runs import Step, SweepRun

_TABLE = "table.md"
_INTERRUPTED = 130


def add_sweep_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE.yaml|DIR",
                        help="base (a configuration), set (keys for all), arms (a name: keys) or grid (a key: values), "
                             "seeds, and measure (sets, each with flags of eval); or a directory of configurations "
                             "with a sweep.yaml, such as configs/history")  # fmt: skip
    parser.add_argument("--only", nargs="+", action="extend", default=[], metavar="ARM", help="these arms alone")
    parser.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        help="where runs and results go, and what is there is not done again; by default sweeps/FILE",
    )
    parser.add_argument("--plan", action="store_true", help="show what is left to do, and the results so far; stop")
    parser.add_argument("--json", action="store_true", help="print the table as one JSON object")


def run_sweep(options: argparse.Namespace) -> int:
    from mlx_trace.sweep.file import find_sweep, read_sweep
    from mlx_trace.sweep.outcomes import markdown, table
    from mlx_trace.sweep.processes import held_log
    from mlx_trace.sweep.runs import runs_of, steps

    file = find_sweep(options.file)
    content, folder = read_sweep(file), options.folder or Path("sweeps") / file.stem
    runs, measures = _chosen(runs_of(content, file, folder), options.only, file), content.measures()
    console, left = Screen(stderr=True), list(steps(runs, measures))
    for measure in content.measure:
        if measure not in measures:
            console.print(f"{measure}: not measured, as there is no {measure.data}")
    console.print(f"{numbered(len(runs), 'run')} in {folder}; {len(left)} trainings and measurements are left to do")
    if options.plan:
        for name, _ in left:
            console.print(f"  {name}", style="dim")
        _show(table(runs, measures, content.reported), 0, options.json)
        return 0
    if left:
        from mlx_trace.sweep.ready import check_ready

        check_ready(content, runs, measures)
    with held_log(folder) as log:
        try:
            failed = _work(console, steps(runs, measures), len(left), log)
        except KeyboardInterrupt:
            console.print("stopped; the same command goes on")
            return _INTERRUPTED
        outcome = table(runs, measures, content.reported)
        _show(outcome, failed, options.json)
        write_atomically(folder / _TABLE, markdown(*outcome))
    return 1 if failed else 0


def _work(console: Screen, left: "Iterable[Step]", count: int, log: "SweepLog") -> int:
    """Do what is left; return how much of it failed."""
    failed = 0
    for number, (name, work) in enumerate(left, start=1):
        console.print(f"{number} of {count}: {name}")
        if (fault := work(log)) is not None:
            failed += 1
            console.print(f"  failed: {fault} (more in {log.path})")
    return failed


def _show(outcome: tuple[list[str], list[list[str]]], failed: int, as_json: bool) -> None:
    headings, rows = outcome
    if as_json:
        show_json({"columns": headings, "rows": rows, "failed": failed})
        return
    shown = Table(*headings[:1], box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings[1:]:
        shown.add_column(heading, justify="right")
    for row in rows:
        shown.add_row(*row)
    Screen().print(shown)


def _chosen(runs: "list[SweepRun]", arms: Sequence[str], file: Path) -> "list[SweepRun]":
    """Return the runs of some arms, all if none is named; UserError for a name that no arm has."""
    known = list(dict.fromkeys(run.arm for run in runs))
    if unknown := [arm for arm in arms if arm not in known]:
        raise UserError(
            f"--only {unknown[0]}: is no arm of {file}; {meant(unknown[0], known)}arms are {', '.join(known)}"
        )
    return [run for run in runs if not arms or run.arm in arms]
