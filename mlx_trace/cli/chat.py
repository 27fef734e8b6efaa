"""`mlx-trace chat`: a conversation in the terminal, one question a line through a pipe, or JSON lines."""

import argparse
import contextlib
from pathlib import Path
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
from mlx_trace.cli.reply import ROW, answer, show_reply
from mlx_trace.cli.screen import Screen
from mlx_trace.errors import UserError
from mlx_trace.files import unreadable
from mlx_trace.notice import is_text, tell

if TYPE_CHECKING:
    from mlx_trace.decode.decoder import Decoder
    from mlx_trace.decode.params import SamplingParams

HELP: Final = """\
Type a word problem and press Return. Each question stands by itself.
  h, /help    show this
  r, /reset   clear the screen and count questions from 1 again
  q, /quit    leave (so does Ctrl-D)"""
_USAGE: Final = 2
_COMMANDS: Final = {"h": "help", "/help": "help", "help": "help", "?": "help", "r": "reset", "/reset": "reset",
                    "reset": "reset", "q": "quit", "/quit": "quit", "quit": "quit", "exit": "quit"}  # fmt: skip


def add_chat_options(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser)
    add_decoding_options(parser)
    add_sampling_options(parser)
    parser.add_argument("--json", action="store_true", help=f"print for each question a line {ROW}")


def run_chat(options: argparse.Namespace) -> int:
    params = sampling_of(options)
    standard_input()  # or there is nobody to ask
    decoder, name = open_decoder(options, params)
    return Chat(decoder, name, params, options.json).run()


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

    at_once = at_once or min(params.n, MAX_SEQUENCES)
    decoder = Decoder(base, Prompter(base.tokenizer, prompt), decoding_of(options), max_sequences=at_once)
    decoder.check(params.max_tokens)
    return decoder, base.name if options.adapter_path is None else f"{base.name} with {options.adapter_path.name}"


class Chat:
    """A session: reads questions until there are no more."""

    def __init__(self, decoder: "Decoder", name: str, params: "SamplingParams", as_json: bool) -> None:
        self.decoder, self.name, self.params, self.as_json = decoder, name, params, as_json
        self.console = Screen(soft_wrap=True)
        self.interactive = standard_input().isatty() and not as_json
        self.asked = self.lines = self.unread = 0

    def run(self) -> int:
        if self.interactive:
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401 its import gives input() editing and history
            self.console.print(f"{self.name}. A word problem, please; h for help, q to leave.")
        while (line := self._read()) is not None:
            self.lines += 1
            question = line.removeprefix(MARK).strip()
            if not is_text(question):
                self.unread += 1
                tell(f"line {self.lines}: not UTF-8 text, so it is not asked")
                continue
            command = self._command(question)
            if command == "quit":
                break
            if command == "help":
                self.console.print(HELP)
            elif command == "reset":
                self.asked = 0
                self.console.clear() if self.interactive else None
            elif question.startswith("/") and not self.as_json:
                self.console.print(f"there is no command {question}; h shows what there is")
            elif question:
                self._answer(question)
        return _USAGE if self.unread else 0

    def _command(self, question: str) -> str | None:
        """Return what a line asks of the session, if it is no question: a word at a terminal, /word in a pipe."""
        if self.as_json or not (self.interactive or question.startswith("/")):
            return None
        return _COMMANDS.get(question.lower())

    def _read(self) -> str | None:
        if not self.interactive:
            try:
                return standard_input().readline() or None
            except OSError as error:
                raise unreadable(Path("standard input"), error) from None
        try:
            return input(f"\n{self.asked + 1}> ")
        except EOFError:
            self.console.print()
            return None
        except KeyboardInterrupt:
            self.console.print("\n(q leaves)")
            return ""

    def _answer(self, question: str) -> None:
        from mlx_trace.chat import as_row

        self.asked += 1
        if not self.interactive and not self.as_json:
            self.console.print(f"> {question}", style="bold")
        try:
            reply, vote = answer(self.decoder, question, self.params, None if self.as_json else self.console)
        except UserError as error:  # this question cannot be asked; the next one may
            self._refuse(question, error)
            return
        except KeyboardInterrupt:
            if not self.interactive:
                raise
            self.console.print("\n(stopped)")
            return
        if self.as_json:
            show_json(as_row(question, reply, vote), flush=True)
        else:
            show_reply(self.console, reply, vote)

    def _refuse(self, question: str, error: UserError) -> None:
        from mlx_trace.chat import as_refused_row

        if self.as_json:
            show_json(as_refused_row(question, str(error)), flush=True)
        else:
            self.console.print(str(error), style="bold red")
