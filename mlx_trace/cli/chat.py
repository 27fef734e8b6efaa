"""`mlx-trace chat`: a conversation at the terminal, one question a line through a pipe, or JSON lines."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Final

from mlx_trace.cli.options import (
    add_decoding_options,
    add_model_options,
    add_sampling_options,
    decoding_of,
    load_named,
    sampling_of,
)
from mlx_trace.cli.output import MARK, show_json, standard_input
from mlx_trace.cli.reply import ROW, answer
from mlx_trace.cli.screen import Screen
from mlx_trace.errors import UserError
from mlx_trace.files import unreadable
from mlx_trace.notice import is_text, tell

if TYPE_CHECKING:
    from mlx_trace.decode.decoder import Decoder
    from mlx_trace.decode.params import SamplingParams

_USAGE: Final = 2
_DUMB: Final = ("", "dumb", "unknown")  # terminals that move no cursor
_SHOWN: Final = 300  # characters of a question that cannot be asked


def add_chat_options(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser)
    add_decoding_options(parser)
    add_sampling_options(parser)
    parser.add_argument("--json", action="store_true", help=f"print for each question a line {ROW}")


def run_chat(options: argparse.Namespace) -> int:
    params = sampling_of(options)
    interactive = standard_input().isatty() and not options.json  # or there is nobody to ask
    if not options.json:
        return Chat(options, interactive).run()
    decoder, _ = open_decoder(options, params)
    return _answer_lines(decoder, params)


def open_decoder(
    options: argparse.Namespace, params: "SamplingParams", at_once: int | None = None
) -> "tuple[Decoder, str]":
    """Load the model that options name, to write so many replies at once, and say what it is called.

    Raises UserError if a reply cannot fit.
    """
    base, prompt = load_named(options)
    from mlx_trace.decode.decoder import Decoder
    from mlx_trace.decode.engine import MAX_SEQUENCES
    from mlx_trace.model.prompts import Prompter

    prompter = Prompter(base.tokenizer, prompt)
    decoder = Decoder(base, prompter, decoding_of(options), max_sequences=at_once or MAX_SEQUENCES)
    decoder.check(params.max_tokens)
    return decoder, base.name if options.adapter_path is None else f"{base.name} with {options.adapter_path.name}"


class Chat:
    """A conversation: reads questions and commands until there are no more."""

    def __init__(self, options: argparse.Namespace, interactive: bool) -> None:
        from mlx_trace.cli.talk import Talk

        self.screen, self.interactive = Screen(soft_wrap=True), interactive
        self.talk = Talk(options, lambda *asked: open_decoder(*asked), self.screen, interactive)
        self.read = self._typing() if interactive else _piped
        self.unread = 0

    def run(self) -> int:
        """Return the exit code: 0, or 2 if there was a line that is no text."""
        from mlx_trace.cli.commands import QUIT, WORDS

        if self.interactive:
            self.screen.print(f"{self.talk.name}. A word problem, please; h for help, q to leave.")
        number = 0
        while (entered := self._next()) is not None:
            number += 1
            line = " ".join(entered.removeprefix(MARK).split())
            if not is_text(line):
                self.unread += 1
                tell(f"line {number}: not UTF-8 text, so it is not asked")
                continue
            if self.interactive or line.startswith("/"):
                line = WORDS.get(line.lower(), line)
            if line == QUIT:
                break
            if line:
                self._do(line)
        return _USAGE if self.unread and not self.interactive else 0

    def _next(self) -> str | None:
        """Return what is entered next, None where there is no more; a Ctrl-C enters nothing."""
        try:
            entered = self.read(f"{self.talk.asked + 1}> ")
        except KeyboardInterrupt:
            if not self.interactive:
                raise
            self.screen.print("(q or Ctrl-D leaves)", style="dim")
            return ""
        if entered is None and self.interactive:
            self.screen.print()
        return entered

    def _do(self, line: str) -> None:
        """Ask a question, or obey a command; what cannot be done is told, and the next one may be."""
        from mlx_trace.cli.commands import obey

        mark = f"{self.talk.asked + 1}> " if self.interactive else "> "
        is_drawn = self.interactive and self.screen.is_terminal and not self.screen.is_dumb_terminal
        try:
            if line.startswith("/"):
                if is_drawn:
                    self.screen.print(f"{mark}{line}", style="bold")
                obey(line, self.talk, f"{self.talk.asked}> " if self.interactive else "> ")
            else:
                self.talk.ask(line, mark)
        except UserError as error:
            if (is_drawn or not self.interactive) and not line.startswith("/"):
                self.screen.print(f"{mark}{shorten(line, _SHOWN, placeholder=' …')}", style="bold")
            self.screen.print("\n".join(error.lines()), style="bold red")
        except KeyboardInterrupt:
            if not self.interactive:
                raise
            self.screen.print("(stopped)", style="yellow")
        if self.interactive:
            self.screen.print()

    def _typing(self) -> "Callable[[str], str | None]":
        """Return what reads from a terminal: with editing, unless it is one that moves no cursor."""
        if os.environ.get("TERM", "") in _DUMB:
            return _typed_plainly
        from mlx_trace.cli.commands import completions
        from mlx_trace.cli.history import open_history
        from mlx_trace.cli.keyboard import Keyboard
        from mlx_trace.resources import state_dir

        return Keyboard(open_history(state_dir() / "history"), completions()).read


def _typed_plainly(prompt: str) -> str | None:
    try:
        return input(prompt)
    except EOFError:
        return None


def _piped(_: str = "") -> str | None:
    try:
        return standard_input().readline() or None
    except OSError as error:
        raise unreadable(Path("standard input"), error) from None


def _answer_lines(decoder: "Decoder", params: "SamplingParams") -> int:
    """Answer each line of standard input by a line of JSON."""
    from mlx_trace.chat import as_refused_row, as_row

    number = unread = 0
    while (line := _piped()) is not None:
        number += 1
        question = line.removeprefix(MARK).strip()
        if not is_text(question):
            unread += 1
            tell(f"line {number}: not UTF-8 text, so it is not asked")
        elif question:
            try:
                row = as_row(question, *answer(decoder, question, params, None))
            except UserError as error:  # this question cannot be asked; the next one may
                row = as_refused_row(question, str(error))
            show_json(row, flush=True)
    return _USAGE if unread else 0
