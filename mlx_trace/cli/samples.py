"""`mlx-trace samples`: what reinforcement sampled: best, worst, by update or grade, or one prompt's over training."""

import argparse
import os
import pydoc
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from heapq import nlargest, nsmallest
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.pager import Pager
from rich.table import Table
from rich.text import Text

from mlx_trace.cli.options import at_least
from mlx_trace.cli.output import show_json
from mlx_trace.cli.screen import Screen
from mlx_trace.errors import UserError
from mlx_trace.language.grade import GRADE_KINDS
from mlx_trace.notice import tell

if TYPE_CHECKING:
    from mlx_trace.train.samples import SavedSample

_SHOWN: Final = 20
_SPANS: Final = 10  # rows of the table of updates
_STYLES: Final = {"correct": "green", "wrong_answer": "yellow"}  # others are red
_CUT: Final = 100  # characters of a question in a list


def add_samples_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's directory, or its samples.jsonl")
    order = parser.add_mutually_exclusive_group()
    order.add_argument("--best", action="store_true", help="highest rewards first, and of equals the latest")
    order.add_argument("--worst", action="store_true", help="lowest rewards first, and of equals the latest")
    parser.add_argument("--update", type=_span, metavar="N|A-B",
                        help="of that update, or from A to B; without any choice of the latest one saved")  # fmt: skip
    parser.add_argument("--grade", choices=GRADE_KINDS, help="only those that the solver judged so")
    parser.add_argument("--prompt", metavar="ID|TEXT",
                        help="how the replies to one prompt changed, by its id or words of its question")  # fmt: skip
    parser.add_argument("--search", metavar="TEXT", help="only those whose question or reply has this in it")
    parser.add_argument("-n", type=at_least(1), metavar="N",
                        help=f"how many samples are shown, or of a prompt how many updates (unless given {_SHOWN}, "
                             "and with --json all)")  # fmt: skip
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
    samples = list(_chosen(path, options))
    if not samples:
        raise UserError(f"{path}: {_nothing(path, options)}")
    if options.json:
        for sample in _ordered(samples, options, options.n or len(samples)):
            show_json(sample.model_dump())
        return 0
    screen = Screen()
    screen.soft_wrap = not screen.is_terminal  # in a pipe lines are as long as they are
    is_paged = screen.is_terminal and sys.stdin.isatty()
    with screen.pager(_Less(), styles=True) if is_paged else nullcontext():
        if options.prompt is not None:
            _show_prompt(screen, samples, options)
        else:
            _show(screen, path, samples, options)
    return 0


class _Less(Pager):
    """The system's pager, told to let colours through, and to end by itself where a screen holds everything."""

    def show(self, content: str) -> None:
        os.environ.setdefault("LESS", "-FRX")
        pydoc.pager(content)


# --- which -----------------------------------------------------------------------------------------------------


def _file_of(run: Path) -> Path:
    from mlx_trace.train.run_dir import SAMPLES_FILE

    path = run / SAMPLES_FILE if run.is_dir() else run
    if run.is_dir() and not path.exists():
        raise UserError(f"{run}: has no {SAMPLES_FILE}: no run of mlx-trace, or one without reinforcement, or one "
                        "whose reinforce.samples_every is 0")  # fmt: skip
    if not path.exists():
        raise UserError(f"{run}: no such directory; a run is what adapter_path names")
    return path


def _chosen(path: Path, options: argparse.Namespace) -> "Iterator[SavedSample]":
    """Yield the samples that the options choose; without any choice those of the latest update."""
    is_open = not (options.best or options.worst or options.grade or options.prompt or options.search)
    span, words = options.update, (options.search or "").casefold()
    latest: list[SavedSample] = []
    prompts = None if options.prompt is None else _prompts(path, options.prompt)
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


def _prompts(path: Path, wanted: str) -> set[str]:
    """Return the ids of the prompts that are meant: the one of that id, or else all with these words."""
    found, words = set(), wanted.casefold()
    for sample in _read(path):
        if sample.id == wanted:
            return {wanted}
        if words in sample.question.casefold():
            found.add(sample.id)
    return found


def _read(path: Path, broken: list[int] | None = None) -> "Iterator[SavedSample]":
    from mlx_trace.train.samples import read_samples

    return read_samples(path, broken)


def _nothing(path: Path, options: argparse.Namespace) -> str:
    """Say why nothing was found."""
    broken: list[int] = []
    every = list(_read(path, broken))
    if not every:
        return (
            f"line {broken[0]} is no sample, nor is any other" if broken else "is empty: no update has been saved yet"
        )
    asked = [f"--{name} {_said(value)}" for name in ("update", "grade", "prompt", "search")
             if (value := getattr(options, name)) is not None]  # fmt: skip
    updates, grades = [sample.update for sample in every], sorted({sample.grade for sample in every})
    return (f"no sample for {' '.join(asked)}; there are {len(every):,} of updates {min(updates)} to {max(updates)}, "
            f"graded {', '.join(grades)}")  # fmt: skip


def _said(value: Any) -> str:
    return f"{value.start}-{value.stop - 1}" if isinstance(value, range) else repr(value)


def _ordered(samples: "Sequence[SavedSample]", options: argparse.Namespace, most: int) -> "list[SavedSample]":
    if options.best:
        return nlargest(most, samples, key=lambda sample: (sample.reward, sample.update))
    if options.worst:
        return nsmallest(most, samples, key=lambda sample: (sample.reward, -sample.update))
    return list(islice(samples, most))


# --- shown -----------------------------------------------------------------------------------------------------


def _show(screen: Screen, path: Path, samples: "Sequence[SavedSample]", options: argparse.Namespace) -> None:
    """Show the table of updates, then the samples."""
    broken: list[int] = []
    screen.print(_table(list(_read(path, broken))), soft_wrap=False)
    _tell_broken(path, broken)
    shown = _ordered(samples, options, options.n or _SHOWN)
    for (_, _, question), group in groupby(shown, key=lambda sample: (sample.update, sample.group, sample.question)):
        own = list(group)
        screen.print(f"\n{question}", style="bold")
        screen.print(f"{own[0].id}; answer {own[0].answer}", style="dim")
        for sample in own:
            screen.print(_heading(sample))
            screen.print(_indented(sample.reply))
    if len(samples) > len(shown):
        screen.print(f"\n{len(samples) - len(shown):,} more; -n {len(samples)} shows all", style="dim")


def _tell_broken(path: Path, broken: Sequence[int]) -> None:
    """Say how many lines are no samples; the last may be one that is being written."""
    with path.open("rb") as file:
        count = sum(1 for _ in file)
    if others := [number for number in broken if number < count]:
        tell(f"{path}: {len(others)} of {count:,} lines are no samples and were passed over, the first is {others[0]}")


def _table(samples: "Sequence[SavedSample]") -> Table:
    """Return rewards and grades over training, in at most so many spans of updates."""
    grades = [kind for kind in GRADE_KINDS if any(sample.grade == kind for sample in samples)]
    shown = Table("updates", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("samples", "reward", *grades, "cut off"):
        shown.add_column(heading.replace("_", " "), justify="right")
    updates = sorted({sample.update for sample in samples})
    size = -(-len(updates) // _SPANS)
    spans = {update: at // size for at, update in enumerate(updates)}
    for _, group in groupby(sorted(samples, key=lambda sample: sample.update), key=lambda sample: spans[sample.update]):
        own = list(group)
        first, last = own[0].update, own[-1].update
        shares = [sum(sample.grade == kind for sample in own) / len(own) for kind in grades]
        cut = sum(sample.truncated for sample in own)
        shown.add_row(f"{first}" if first == last else f"{first}-{last}", f"{len(own):,}",
                      f"{sum(sample.reward for sample in own) / len(own):.3f}", *(f"{share:.0%}" for share in shares),
                      f"{cut:,}")  # fmt: skip
    return shown


def _heading(sample: "SavedSample") -> Text:
    """Return what is known of a sample, in a line."""
    text = Text(f"update {sample.update}  ", style="dim")
    text.append(sample.grade.replace("_", " "), style=_STYLES.get(sample.grade, "red"))
    text.append(f"  reward {sample.reward:.3g}  advantage {sample.advantage:+.3g}")
    text.append(f"  {sample.tokens} tokens, {sample.sampled} sampled")
    if sample.logprob_gap is not None:
        text.append(f"  gap {sample.logprob_gap:.1g}")
    if sample.truncated:
        text.append("  cut off", style="red")
    if sample.detail:
        text.append(f"  {' '.join(sample.detail.split())}", style="dim")
    return text


def _indented(reply: str, marks: Sequence[str] = ()) -> Text:
    lines = reply.split("\n")
    return Text("\n".join(f"  {mark}{line}" for mark, line in zip(marks or [""] * len(lines), lines, strict=True)))


# --- one prompt over training ----------------------------------------------------------------------------------


def _show_prompt(screen: Screen, samples: "Sequence[SavedSample]", options: argparse.Namespace) -> None:
    prompts = {sample.id: sample.question for sample in samples}
    if len(prompts) > 1:
        most = options.n or _SHOWN
        screen.print(f"{len(prompts):,} prompts have {options.prompt!r} in them; --prompt ID shows one:")
        for name, question in islice(prompts.items(), most):
            count = sum(sample.id == name for sample in samples)
            cut = question if len(question) <= _CUT else f"{question[:_CUT]}…"
            screen.print(Text(f"{name}  ", style="bold").append(f"{count} replies  {cut}", style="not bold"))
        if len(prompts) > most:
            screen.print(f"{len(prompts) - most:,} more; -n {len(prompts)} shows all", style="dim")
        return
    screen.print(samples[0].question, style="bold")
    screen.print(f"{samples[0].id}; answer {samples[0].answer}", style="dim")
    updates = [list(own) for _, own in groupby(samples, key=lambda sample: sample.update)]
    shown = _spread(updates, options.n or _SHOWN)
    _show_changes(screen, shown)
    if len(shown) < len(updates):
        screen.print(f"\n{len(updates) - len(shown):,} updates between are left out; -n {len(updates)} shows all",
                     style="dim")  # fmt: skip


def _spread(updates: "list[list[SavedSample]]", most: int) -> "list[list[SavedSample]]":
    """Return so many of some updates, the last of them, the first, and others evenly between."""
    if len(updates) <= most:
        return updates
    places = (
        {round(at * (len(updates) - 1) / max(1, most - 1)) for at in range(most)} if most > 1 else {len(updates) - 1}
    )
    return [updates[place] for place in sorted(places)]


def _show_changes(screen: Screen, updates: "Sequence[Sequence[SavedSample]]") -> None:
    """Show each update's distinct replies; what no reply had the time before is marked with a +."""
    known: dict[str, int] = {}
    before: set[str] | None = None
    for own in updates:
        counts: dict[str, list[SavedSample]] = {}
        for sample in own:
            counts.setdefault(sample.reply, []).append(sample)
        mean = sum(sample.reward for sample in own) / len(own)
        screen.print(f"\nupdate {own[0].update}: {len(own)} replies, reward {mean:.3f}", style="bold")
        for reply, same in counts.items():
            screen.print(Text(f"{len(same)} × ").append_text(_heading(same[0])))
            if reply in known:
                screen.print(f"  as at update {known[reply]}", style="dim")
            else:
                marks = [" " if before is None or line in before else "+" for line in reply.split("\n")]
                screen.print(_indented(reply, [f"{mark} " for mark in marks]))
                known[reply] = own[0].update
        before = {line for reply in counts for line in reply.split("\n")}
