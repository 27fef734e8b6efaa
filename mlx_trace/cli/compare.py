"""`mlx-trace compare`: whether one measurement is better than another, on the problems that both hold."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table

from mlx_trace.cli.options import at_least
from mlx_trace.cli.output import show_json
from mlx_trace.cli.screen import Screen
from mlx_trace.config import STRATA_KEY
from mlx_trace.errors import UserError
from mlx_trace.notice import tell

if TYPE_CHECKING:
    from mlx_trace.evaluate.compared import Comparison, Measured, Pair

_SHOWN: Final = 5
_LONGEST: Final = 200  # characters of a question


def add_compare_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", type=Path, metavar="BEFORE.jsonl", help="records, as eval -o writes them")
    parser.add_argument("after", type=Path, nargs="+", metavar="AFTER.jsonl",
                        help="records of the same problems, each file compared with the first")  # fmt: skip
    parser.add_argument("--by", choices=tuple(STRATA_KEY), help="count apart by that, too, as eval --by does")
    parser.add_argument("--show", type=at_least(0), default=_SHOWN, metavar="K",
                        help="gained and lost problems to show of each file (default %(default)s)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object, with all that changed sides")


def run_compare(options: argparse.Namespace) -> int:
    from mlx_trace.evaluate.compared import paired

    before = _measured(options.before)
    pairs: dict[Path, list[Pair]] = {}
    for path in options.after:
        if path in pairs:
            raise UserError(f"{path}: is given twice")
        pairs[path] = paired(before, _measured(path), (options.before, path))
    if options.json:
        files = [{"file": str(path), **_as_json(own, options.by)} for path, own in pairs.items()]
        show_json({"before": str(options.before), "after": files})
        return 0
    screen = Screen()
    for path, own in pairs.items():
        screen.print(_table(options.before, path, own, options.by))
        if len(own) < len(before):
            screen.print(f"{len(before) - len(own)} more of {options.before} are not in {path}", style="dim")
        for name, changed in _sides(own).items():
            _show(screen, name, changed, options.show)
    return 0


def _measured(path: Path) -> "dict[str, Measured]":
    """Return what a file's records measured, by name; of an evaluation that is not done, it is told."""
    from mlx_trace.evaluate.records import read_records

    file = read_records(path)
    if file.is_partial:
        tell(f"{path}: is of an evaluation that is not done; {len(file.replies):,} records are compared")
    return file.measured


def _as_json(pairs: "Sequence[Pair]", by: str | None) -> dict[str, Any]:
    from mlx_trace.evaluate.compared import compare

    sides = {
        name: [{"id": pair.problem.id, "question": pair.problem.question, "answer": pair.problem.answer,
                "before": pair.before.got, "after": pair.after.got} for pair in own]
        for name, own in _sides(pairs).items()
    }  # fmt: skip
    apart = {STRATA_KEY[by]: {name: comparison.as_json() for name, comparison in _apart(pairs, by)}} if by else {}
    return {**compare(pairs).as_json(), "problems": sides, **apart}


def _apart(pairs: "Sequence[Pair]", by: str | None) -> "list[tuple[str, Comparison]]":
    from mlx_trace.evaluate.compared import compare
    from mlx_trace.evaluate.strata import strata

    return [(name, compare(own)) for name, own in strata(by, pairs)] if by else []


def _table(before: Path, after: Path, pairs: "Sequence[Pair]", by: str | None) -> Table:
    from mlx_trace.evaluate.compared import compare

    is_loss = pairs[0].after.is_loss
    shown = Table(title=f"{after} against {before}", title_justify="left", box=None, pad_edge=False)
    difference = "difference" if is_loss else "points"
    for heading in ("", "n", "before", "after", difference, "gained", "lost", "p"):
        shown.add_column(heading, justify="left" if heading == "" else "right")
    for name, comparison in [*_apart(pairs, by), ("all", compare(pairs))]:
        changed = str(comparison.gained), str(comparison.lost)
        shown.add_row(name, str(comparison.n), *_cells(comparison), *changed, f"{comparison.p:.2g}",
                      style="bold" if name == "all" else "")  # fmt: skip
    return shown


def _cells(comparison: "Comparison") -> tuple[str, str, str]:
    """Return both shares, or mean losses, and their difference with its interval."""
    mean, low, high = comparison.difference
    if isinstance(comparison.before, tuple) or isinstance(comparison.after, tuple):
        first, second = (f"{side[0]:.4f}" for side in (comparison.before, comparison.after) if isinstance(side, tuple))
        return first, second, f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]"
    points = f"{100 * mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
    return comparison.before.brief(), comparison.after.brief(), points


def _sides(pairs: "Sequence[Pair]") -> "dict[str, list[Pair]]":
    """Return the problems that are newly right, and those that no longer are; of losses none is either."""
    answers = [pair for pair in pairs if not pair.after.is_loss]
    return {
        "gained": [pair for pair in answers if pair.after.score > pair.before.score],
        "lost": [pair for pair in answers if pair.after.score < pair.before.score],
    }


def _show(screen: Screen, name: str, changed: "Sequence[Pair]", most: int) -> None:
    if not changed or not most:
        return
    of = f" ({most} of {len(changed)})" if len(changed) > most else ""
    screen.print(f"\n{name}{of}:", style="bold")
    for pair in changed[:most]:
        question = pair.problem.question
        cut = question if len(question) <= _LONGEST else f"{question[:_LONGEST]}…"
        screen.print(f"  {cut}")
        screen.print(f"    {pair.problem.answer}; before {pair.before.got or 'nothing'}, "
                     f"after {pair.after.got or 'nothing'}", style="dim")  # fmt: skip
