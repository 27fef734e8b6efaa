"""`mlx-trace sweep`: several configurations are trained and measured, and compared in one table."""

import argparse
from pathlib import Path

from rich.table import Table

from mlx_trace.cli.output import show_json
from mlx_trace.cli.screen import Screen
from mlx_trace.files import write_atomically

_LOG = "log.txt"
_TABLE = "table.md"
_INTERRUPTED = 130


def add_sweep_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE.yaml",
                        help="base (a configuration), set (keys for all), arms (a name: keys) or grid (a key: values), "
                             "seeds, and measure (sets, each with flags of eval)")  # fmt: skip
    parser.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        help="where runs and results go, and what is there is not done again; by default sweeps/FILE",
    )
    parser.add_argument("--plan", action="store_true", help="show what is left to do, and the results so far; stop")
    parser.add_argument("--json", action="store_true", help="print the table as one JSON object")


def run_sweep(options: argparse.Namespace) -> int:
    from mlx_trace.sweep.file import read_sweep
    from mlx_trace.sweep.outcomes import markdown, table
    from mlx_trace.sweep.runs import runs_of, steps

    content, folder = read_sweep(options.file), options.folder or Path("sweeps") / options.file.stem
    runs, console = runs_of(content, options.file, folder), Screen(stderr=True)
    left, failed = list(steps(runs, content.measure)), 0
    console.print(f"{len(runs)} runs in {folder}; {len(left)} trainings and measurements are left to do")
    if options.plan:
        for name, _ in left:
            console.print(f"  {name}", style="dim")
    log = folder / _LOG
    try:
        for number, (name, work) in enumerate([] if options.plan else left, start=1):
            console.print(f"{number} of {len(left)}: {name}")
            if (fault := work(log)) is not None:
                failed += 1
                console.print(f"  failed: {fault} (more in {log})")
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on")
        return _INTERRUPTED
    headings, rows = table(runs, content.measure)
    if not options.plan:
        write_atomically(folder / _TABLE, markdown(headings, rows))
    if options.json:
        show_json({"columns": headings, "rows": rows, "failed": failed})
    else:
        shown = Table(*headings[:1], box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for heading in headings[1:]:
            shown.add_column(heading, justify="right")
        for row in rows:
            shown.add_row(*row)
        Screen().print(shown)
    return 1 if failed else 0
