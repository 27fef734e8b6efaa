"""What a conversation can be told beside questions: /why, /again, /repair, /model, /samples, /save, /help …

Takes a line and a conversation; a command that cannot be done is a `UserError`.
"""

import json
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from rich.table import Table

from mlx_trace.cli.graph import render_graph
from mlx_trace.cli.ledger import render_ledger
from mlx_trace.cli.options import at_least
from mlx_trace.cli.talk import Talk
from mlx_trace.config_sources import MOST_SAMPLES
from mlx_trace.errors import UserError, meant
from mlx_trace.files import write_atomically
from mlx_trace.language.syntax import NoTrace, parse
from mlx_trace.notice import safe_json
from mlx_trace.resources import expanded

QUIT: Final = "/quit"
WORDS: Final = {  # what is a command at a terminal without a slash
    "h": "/help", "help": "/help", "?": "/help", "/h": "/help", "r": "/reset", "reset": "/reset", "/r": "/reset",
    "q": QUIT, "quit": QUIT, "exit": QUIT, "/q": QUIT, "/exit": QUIT,
}  # fmt: skip
HELP: Final = {
    "/why": ("", "what the last answer was computed from, down to the words of the question"),
    "/again": ("", "the last question anew, sampled with another seed"),
    "/repair": ("", "give the last reply, if it does not run, back with the solver's objection"),
    "/model": ("[NAME|FOLDER|FILE.gguf [ADAPTER|none]]", "which model is asked, and which there are; ask another one"),
    "/samples": ("[K]", "so many replies a question, which vote"),
    "/save": ("FILE", "write what was asked and answered, a line of JSON each; /save! replaces a file"),
    "/reset": ("", "clear the screen and count questions from 1 again"),
    "/help": ("", "show this (so does h)"),
    "/quit": ("", "leave (so do q and Ctrl-D)"),
}
KEYS: Final = (
    "Type or paste a word problem and press Return; Alt-Return begins another line. Each question stands by itself. "
    "Ctrl-C stops a reply or clears the line, Ctrl-R searches what was asked, Tab completes commands."
)


def completions() -> dict[str, Callable[[], Iterable[str]] | str]:
    """Return for each command what its word may be."""
    words: dict[str, Callable[[], Iterable[str]] | str] = dict.fromkeys(HELP, "")
    return words | {"/model": model_names, "/save": "path", "/save!": "path"}


def model_names() -> list[str]:
    """Return the models that have a name, and the adapters that are here."""
    from mlx_trace.model.named import NAMED, TINY

    here = (path.parent for path in Path("adapters").glob("*/adapter_config.json"))
    return [TINY, *(entry.name for entry in NAMED), *(str(path) for path in here)]


def obey(line: str, talk: Talk, mark: str) -> None:
    """Do what a line that begins with a slash says."""
    name, _, rest = line.partition(" ")
    command = _COMMANDS.get(name.lower())
    if command is None:
        hint = meant(name.lower(), _COMMANDS).strip()
        raise UserError(f"there is no command {name[:40]}; {hint or '/help shows what there is'}")
    try:
        words = shlex.split(rest, posix=True)
    except ValueError:
        words = rest.split()
    command(talk, words, mark)


def _why(talk: Talk, words: list[str], mark: str) -> None:
    _takes("/why", words, 0)
    if talk.last is None or talk.last.reply is None:
        raise UserError("nothing was answered yet")
    trace = parse(talk.last.reply.text)
    if isinstance(trace, NoTrace):
        raise UserError(f"the last reply is no trace ({trace.message}), so that nothing was computed")
    talk.screen.print(render_graph(talk.last.question, trace), soft_wrap=False)
    if talk.last.reply.grade.answer is None:
        talk.screen.print(render_ledger(trace, is_plain=True), soft_wrap=False)


def _again(talk: Talk, words: list[str], mark: str) -> None:
    _takes("/again", words, 0)
    talk.ask_again(mark)


def _repair(talk: Talk, words: list[str], mark: str) -> None:
    _takes("/repair", words, 0)
    talk.repair(mark)


def _model(talk: Talk, words: list[str], mark: str) -> None:
    _takes("/model", words, 2)
    if not words:
        talk.screen.print(
            f"{talk.name}. There are {', '.join(model_names())}, folders, and GGUF files.", soft_wrap=False
        )
        return
    try:
        talk.load(words[0], words[1] if len(words) > 1 else None)
    except UserError as error:
        raise UserError(*error.faults, f"{talk.name} stays") from None
    except KeyboardInterrupt:
        raise UserError(f"stopped; {talk.name} stays") from None
    talk.screen.print(f"{talk.name}.")


def _samples(talk: Talk, words: list[str], mark: str) -> None:
    import argparse

    _takes("/samples", words, 1)
    if words:
        try:
            talk.sample(at_least(1, MOST_SAMPLES)(words[0]))
        except argparse.ArgumentTypeError as error:
            raise UserError(f"/samples: {error}") from None
    n, warmth = talk.params.n, talk.params.temperature
    how = "greedy" if not warmth else f"at temperature {warmth:g}" + (", which vote" if n > 1 else "")
    talk.screen.print(f"{n} repl{'ies' if n > 1 else 'y'} a question, {how}")


def _save(talk: Talk, words: list[str], mark: str, replaces: bool = False) -> None:
    name = "/save!" if replaces else "/save"
    _takes(name, words, 1)
    if not words:
        raise UserError(f"{name}: name a file")
    if not talk.rows:
        raise UserError("nothing was answered yet")
    path = expanded(words[0])
    if path.is_file() and not replaces:
        raise UserError(f"{path}: exists already; /save! {shlex.quote(words[0])} replaces it")
    count = write_atomically(path, (safe_json(json.dumps(row, ensure_ascii=False)) + "\n" for row in talk.rows))
    talk.screen.print(f"{path}: {count} question{'s' * (count > 1)}")


def _reset(talk: Talk, words: list[str], mark: str) -> None:
    talk.asked, talk.last = 0, None
    if talk.screen.is_terminal:
        talk.screen.clear()


def _help(talk: Talk, words: list[str], mark: str) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", overflow="fold", max_width=24)
    table.add_column()
    for name, (word, meaning) in HELP.items():
        table.add_row(f"{name} {word}", meaning)
    talk.screen.print(KEYS, soft_wrap=False)
    talk.screen.print(table, soft_wrap=False)


def _takes(name: str, words: list[str], most: int) -> None:
    if len(words) > most:
        takes = "nothing" if not most else "one word" if most == 1 else f"{most} words at most"
        raise UserError(f"{name} takes {takes}, not {' '.join(words)[:60]!r}")


_COMMANDS: Final[dict[str, Callable[[Talk, list[str], str], None]]] = {
    "/why": _why, "/again": _again, "/repair": _repair, "/model": _model, "/samples": _samples, "/save": _save,
    "/save!": lambda talk, words, mark: _save(talk, words, mark, replaces=True), "/reset": _reset, "/help": _help,
}  # fmt: skip
