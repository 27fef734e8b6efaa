"""`mlx-trace samples`: what reinforcement sampled: best, worst, by update or grade, or one prompt's over training."""

import argparse
import os
import pydoc
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from heapq import nlargest, nsmallest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.pager import Pager

from mlx_trace.cli.options import at_least
from mlx_trace.cli.output import show_json
from mlx_trace.cli.replies import show_prompt, show_prompts, show_samples, show_table, span_of, table_of
from mlx_trace.cli.screen import Screen
from mlx_trace.errors import UserError
from mlx_trace.language.grade import GRADE_KINDS
from mlx_trace.notice import tell
from mlx_trace.resources import adapter_at, is_bundled

if TYPE_CHECKING:
    from mlx_trace.train.samples import SavedSample

_SHOWN: Final = 20


def add_samples_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's directory, or its samples.jsonl")
    order = parser.add_mutually_exclusive_group()
    order.add_argument("--best", action="store_true", help="highest rewards first, and of equals the latest")
    order.add_argument("--worst", action="store_true", help="lowest rewards first, and of equals the latest")
    parser.add_argument("--update", type=_span, metavar="N|A-B",
                        help="only those of that update, or from A to B; where nothing is chosen the latest that was "
                             "saved")  # fmt: skip
    parser.add_argument("--grade", choices=GRADE_KINDS, metavar="KIND",
                        help=f"only those that the solver judged so: {', '.join(GRADE_KINDS)}")  # fmt: skip
    parser.add_argument("--prompt", metavar="ID|TEXT",
                        help="how the replies to one prompt changed, by its id or words of its question")  # fmt: skip
    parser.add_argument("--search", metavar="TEXT", help="only those whose question or reply has this in it")
    parser.add_argument("-n", type=at_least(1), metavar="N",
                        help=f"how many samples to show, or of a prompt how many updates; {_SHOWN} unless given, all "
                             "with --json")  # fmt: skip
    parser.add_argument(
        "--json", action="store_true", help="print the samples as they were saved, a JSON object a line"
    )


def _span(text: str) -> range:
    first, dash, last = text.partition("-")
    try:
        span = range(int(first), int(last if dash else first) + 1)
    except ValueError:
        span = range(0)
    if not span or span.start < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither an update, from 1 on, nor a span such as 40-60")
    return span


def run_samples(options: argparse.Namespace) -> int:
    path = _file_of(options.run)
    prompts = None if options.prompt is None else _prompts(path, options.prompt)
    samples = _Counted(_chosen(path, options, prompts))
    if options.json:
        for sample in _ordered(samples, options, options.n):
            show_json(sample.model_dump())
        if not samples.count:
            raise UserError(f"{path}: {_nothing(path, options)}")
        return 0
    screen = Screen()
    screen.soft_wrap = not screen.is_terminal  # in a pipe lines are as long as they are
    is_paged = screen.is_terminal and sys.stdin.isatty()
    most = options.n or _SHOWN
    with screen.pager(_Less(), styles=True) if is_paged else nullcontext():
        if prompts is not None and len(prompts) > 1:
            show_prompts(screen, prompts, options.prompt, most)
            return 0
        shown = list(samples if prompts else _ordered(samples, options, most))
        if not shown:
            raise UserError(f"{path}: {_nothing(path, options)}")
        if prompts:
            show_prompt(screen, shown, most)
            return 0
        broken: list[int] = []
        show_table(screen, table_of(_read(path, broken)))
        _tell_broken(path, broken)
        show_samples(screen, shown, samples.count)
    return 0


class _Counted:
    """Samples that are counted as they go by: a file may hold more than memory does."""

    def __init__(self, samples: "Iterator[SavedSample]") -> None:
        self.samples, self.count = samples, 0

    def __iter__(self) -> "Iterator[SavedSample]":
        for sample in self.samples:
            self.count += 1
            yield sample


class _Less(Pager):
    """The system's pager, told to let colours through, and to end by itself where a screen holds everything."""

    def show(self, content: str) -> None:
        os.environ.setdefault("LESS", "-FRX")
        pydoc.pager(content)


# --- which -----------------------------------------------------------------------------------------------------


def _file_of(named: Path) -> Path:
    from mlx_trace.run_files import SAMPLES_FILE

    run = adapter_at(named)
    path = run / SAMPLES_FILE if run.is_dir() else run
    if run.is_dir() and not path.exists() and is_bundled(named):
        raise UserError(f"{named}: the adapter that comes with mlx-trace has no {SAMPLES_FILE}; runs that are trained "
                        "here with reinforcement save one")  # fmt: skip
    if run.is_dir() and not path.exists():
        raise UserError(f"{run}: has no {SAMPLES_FILE}: no run of mlx-trace, or one without reinforcement, or one "
                        "whose reinforce.samples_every is 0")  # fmt: skip
    if not path.exists():
        raise UserError(f"{run}: no such directory; a run is what adapter_path names")
    return path


def _chosen(
    path: Path, options: argparse.Namespace, prompts: "Mapping[str, tuple[str, int]] | None"
) -> "Iterator[SavedSample]":
    """Yield the samples that the options choose; without any choice those of the latest update."""
    is_open = not (options.best or options.worst or options.grade or options.search) and prompts is None
    span, words = options.update, (options.search or "").casefold()
    latest: list[SavedSample] = []
    for sample in _read(path):
        if span is None and is_open:
            latest = [*(latest if latest and latest[-1].update == sample.update else ()), sample]
        elif (
            (span is None or sample.update in span)
            and options.grade in (None, sample.grade)
            and (prompts is None or sample.id in prompts)
            and (not words or words in sample.question.casefold() or words in sample.reply.casefold())
        ):
            yield sample
    yield from latest


def _prompts(path: Path, wanted: str) -> dict[str, tuple[str, int]]:
    """Return questions and numbers of replies by id: of the prompt of this id, or else of all with these words."""
    prompts: dict[str, tuple[str, int]] = {}
    words = wanted.casefold()
    for sample in _read(path):
        if sample.id == wanted or words in sample.question.casefold():
            prompts[sample.id] = sample.question, prompts.get(sample.id, ("", 0))[1] + 1
    return {wanted: prompts[wanted]} if wanted in prompts else prompts


def _read(path: Path, broken: list[int] | None = None) -> "Iterator[SavedSample]":
    from mlx_trace.train.samples import read_samples

    return read_samples(path, broken)


def _nothing(path: Path, options: argparse.Namespace) -> str:
    """Say why nothing was found."""
    broken: list[int] = []
    updates, grades, count = range(0), set[str](), 0
    for sample in _read(path, broken):
        count += 1
        updates = range(min(updates.start or sample.update, sample.update), max(updates.stop, sample.update + 1))
        grades.add(sample.grade)
    if not count:
        return (
            f"line {broken[0]} is no sample, nor is any other" if broken else "is empty: no update has been saved yet"
        )
    asked = [f"--{name} {_said(value)}" for name in ("update", "grade", "prompt", "search")
             if (value := getattr(options, name)) is not None]  # fmt: skip
    return (f"no sample for {' '.join(asked)}; there are {count:,} of updates {_said(updates)}, graded "
            f"{', '.join(sorted(grades))}")  # fmt: skip


def _said(value: Any) -> str:
    return span_of(value) if isinstance(value, range) else repr(value)


def _ordered(samples: _Counted, options: argparse.Namespace, most: int | None) -> "Iterable[SavedSample]":
    """Return so many samples, or all, in the order that is asked for; all are counted."""
    if options.best:
        return nlargest(most or sys.maxsize, samples, key=lambda sample: (sample.reward, sample.update))
    if options.worst:
        return nsmallest(most or sys.maxsize, samples, key=lambda sample: (sample.reward, -sample.update))
    return samples if most is None else [sample for sample in samples if samples.count <= most]


def _tell_broken(path: Path, broken: Sequence[int]) -> None:
    """Say how many lines are no samples; the last may be one that is being written."""
    with path.open("rb") as file:
        count = sum(1 for _ in file)
    if others := [number for number in broken if number < count]:
        tell(f"{path}: {len(others)} of {count:,} lines are no samples and were passed over, the first is {others[0]}")
