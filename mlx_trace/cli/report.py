"""`mlx-trace report`: runs and records in one page to look at, a table for a model card, or JSON for a program."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlx_trace.cli.output import output_file, show, show_json
from mlx_trace.cli.screen import Screen
from mlx_trace.destination import check_apart
from mlx_trace.errors import UserError
from mlx_trace.files import check_output, is_stream, write_atomically
from mlx_trace.resources import adapter_at

if TYPE_CHECKING:
    from mlx_trace.evaluate.report.figures import Report

_PAGE: Final = Path("report.html")
_MEGA: Final = 1e6


def add_report_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", type=Path, nargs="+", metavar="RUN|RECORDS.jsonl",
                        help="run folders, whose training is shown, and records that eval -o wrote; files of the same "
                             "problems are compared")  # fmt: skip
    parser.add_argument("-o", "--output", type=output_file, metavar="FILE.html",
                        help=f"where the page goes; {_PAGE} unless given")  # fmt: skip
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--markdown", action="store_true",
                         help="print Markdown, for a README or a model card; no page without -o")  # fmt: skip
    instead.add_argument("--json", action="store_true", help="print one JSON object; no page without -o")


def run_report(options: argparse.Namespace) -> int:
    page = options.output or (None if options.markdown or options.json else _PAGE)
    if page is not None:
        _check_page(page, options.sources, is_named=options.output is not None)
    with Screen(stderr=True).status("reading"):
        report = _read(options.sources)
    if options.json:
        show_json(report.as_json())
    if options.markdown:
        from mlx_trace.evaluate.report.markdown import markdown

        show(markdown(report))
    if page is not None:
        from mlx_trace.evaluate.report.page import render

        with Screen(stderr=True).status("drawing"):
            text = render(report)
        write_atomically(page, [text])
        if not (options.json or options.markdown or is_stream(page)):
            show(f"{page}: {_counted(report)}, {len(text.encode()) / _MEGA:.1f} MB")
    return 0


def _counted(report: "Report") -> str:
    """Return how many runs and records are in a report."""
    records = sum(len(file.rows) for file in report.files)
    counts = {"run": len(report.runs), "record": records}
    return ", ".join(f"{count:,} {noun}{'s' if count != 1 else ''}" for noun, count in counts.items() if count)


def _read(sources: Sequence[Path]) -> "Report":
    """Read what each source is: a folder is a run, a file holds records; all that is wrong is told at once."""
    from mlx_trace.evaluate.records import read_records
    from mlx_trace.evaluate.report.figures import Report
    from mlx_trace.evaluate.report.training import read_training

    runs, files = [], []
    faults: list[str] = []
    for path in sources:
        try:
            if sources.count(path) > 1:
                raise UserError(f"{path}: is given twice")
            if adapter_at(path).is_dir():
                runs.append(read_training(path))
            else:
                files.append(read_records(path))
        except UserError as error:
            faults += error.faults
    if faults:
        raise UserError(*dict.fromkeys(faults))
    return Report(runs, files)


def _check_page(page: Path, sources: Sequence[Path], is_named: bool) -> None:
    """Refuse to write over what is read, or over another's page that only has the usual name."""
    check_output(page)
    if is_stream(page) or not page.exists():
        return
    from mlx_trace.evaluate.report.page import MADE_BY

    with page.open(encoding="utf-8", errors="replace") as file:
        is_report = MADE_BY in file.read(200)
    if not is_report:
        check_apart(page, sources)
        if not is_named:
            raise UserError(f"{page}: is there already, and is no report; -o names where the page goes")
