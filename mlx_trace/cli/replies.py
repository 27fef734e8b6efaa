"""Samples of reinforcement for people: how grades went, samples with what they earned, one prompt's over training."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, islice
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from mlx_trace.cli.progress import laid_out
from mlx_trace.cli.screen import Screen
from mlx_trace.language.grade import GRADE_KINDS
from mlx_trace.numbered import numbered

if TYPE_CHECKING:
    from mlx_trace.train.samples import SavedSample

_SPANS: Final = 10  # rows of the table of updates
_STYLES: Final = {"correct": "green", "wrong_answer": "yellow"}  # others are red
_WIDE: Final = 10_000  # columns that any table fits into
_CUT: Final = 100  # characters of a question in a list


def span_of(updates: range) -> str:
    """Return updates in words, as 40 or 40-60."""
    return str(updates.start) if len(updates) == 1 else f"{updates.start}-{updates.stop - 1}"


def show_samples(screen: Screen, shown: "Sequence[SavedSample]", count: int) -> None:
    """Print samples, replies to one prompt together; there are `count` of them in all."""
    for (_, _, question), group in groupby(shown, key=lambda sample: (sample.update, sample.group, sample.question)):
        own = list(group)
        screen.print(f"\n{question}", style="bold")
        screen.print(f"{own[0].id}; answer {own[0].answer}", style="dim")
        for sample in own:
            screen.print(_heading(sample))
            screen.print(_indented(sample.reply))
    if count > len(shown):
        screen.print(f"\n{count - len(shown):,} more; -n {count} shows all", style="dim")


def table_of(samples: "Iterable[SavedSample]") -> Table:
    """Return rewards and grades over training, in at most so many spans of updates."""
    counts: dict[int, Counter[str]] = {}
    rewards: dict[int, float] = {}
    for sample in samples:
        counts.setdefault(sample.update, Counter()).update({"all": 1, "cut": int(sample.truncated), sample.grade: 1})
        rewards[sample.update] = rewards.get(sample.update, 0.0) + sample.reward
    grades = [kind for kind in GRADE_KINDS if any(own[kind] for own in counts.values())]
    shown = Table("updates", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("samples", "reward", *grades, "cut off"):
        shown.add_column(heading.replace("_", " "), justify="right")
    updates = sorted(counts)
    size = -(-len(updates) // _SPANS) or 1
    for span in (updates[start : start + size] for start in range(0, len(updates), size)):
        own = sum((counts[update] for update in span), Counter())
        mean = sum(rewards[update] for update in span) / own["all"]
        shown.add_row(span_of(range(span[0], span[-1] + 1)), f"{own['all']:,}", f"{mean:.3f}",
                      *(f"{own[kind] / own['all']:.0%}" for kind in grades), f"{own['cut']:,}")  # fmt: skip
    return shown


def show_table(screen: Screen, table: Table) -> None:
    """Print a table; where the screen is too narrow for it, each row as words on as many lines as it takes."""
    if screen.measure(table, options=screen.options.update(max_width=_WIDE)).maximum <= screen.width:
        screen.print(table, soft_wrap=False)
        return
    for row in zip(*(column.cells for column in table.columns), strict=True):
        parts = [f"{column.header} {cell}" for column, cell in zip(table.columns, row, strict=True)]
        for line in laid_out(parts, screen.width):
            screen.print(line)


def _heading(sample: "SavedSample") -> Text:
    """Return what is known of a sample, in a line."""
    text = Text(f"update {sample.update}  ", style="dim")
    text.append(sample.grade.replace("_", " "), style=_STYLES.get(sample.grade, "red"))
    text.append(f"  reward {sample.reward:.3g}  advantage {sample.advantage:+.3g}")
    text.append(f"  {numbered(sample.tokens, 'token')}, {sample.sampled} sampled")
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


def show_prompts(screen: Screen, prompts: "Mapping[str, tuple[str, int]]", words: str, most: int) -> None:
    """Print which prompts have some words in them: ids, questions and how many replies there are, so many of them."""
    screen.print(f"{len(prompts):,} prompts have {words!r} in them; --prompt ID shows one:")
    for name, (question, count) in islice(prompts.items(), most):
        cut = question if len(question) <= _CUT else f"{question[:_CUT]}…"
        screen.print(Text(f"{name}  ", style="bold").append(f"{numbered(count, 'reply')}  {cut}", style="not bold"))
    if len(prompts) > most:
        screen.print(f"{len(prompts) - most:,} more; -n {len(prompts)} shows all", style="dim")


def show_prompt(screen: Screen, samples: "Sequence[SavedSample]", most: int) -> None:
    """Print how the replies to one prompt changed, at so many updates."""
    screen.print(samples[0].question, style="bold")
    screen.print(f"{samples[0].id}; answer {samples[0].answer}", style="dim")
    updates = [list(own) for _, own in groupby(samples, key=lambda sample: sample.update)]
    shown = _spread(updates, most)
    _show_changes(screen, shown)
    if len(shown) < len(updates):
        screen.print(f"\n{len(updates) - len(shown):,} updates between are left out; -n {len(updates)} shows all",
                     style="dim")  # fmt: skip


def _spread(updates: "list[list[SavedSample]]", most: int) -> "list[list[SavedSample]]":
    """Return so many of some updates, the last of them, the first, and others evenly between."""
    if len(updates) <= most:
        return updates
    places = (
        {round(rank * (len(updates) - 1) / max(1, most - 1)) for rank in range(most)}
        if most > 1
        else {len(updates) - 1}
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
        screen.print(f"\nupdate {own[0].update}: {numbered(len(own), 'reply')}, reward {mean:.3f}", style="bold")
        for reply, same in counts.items():
            screen.print(Text(f"{len(same)} × ").append_text(_heading(same[0])))
            if reply in known:
                screen.print(f"  as at update {known[reply]}", style="dim")
            else:
                marks = [" " if before is None or line in before else "+" for line in reply.split("\n")]
                screen.print(_indented(reply, [f"{mark} " for mark in marks]))
                known[reply] = own[0].update
        before = {line for reply in counts for line in reply.split("\n")}
