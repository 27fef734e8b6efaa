"""`mlx-trace chat`: a conversation in the terminal, one question a line through a pipe, or JSON lines."""

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mlx_trace.cli.ledger import print_ledger
from mlx_trace.cli.options import (
    add_decoding_options,
    add_model_options,
    add_sampling_options,
    decoding_of,
    load_named,
    sampling_of,
)
from mlx_trace.cli.output import show_json, standard_input
from mlx_trace.cli.screen import Screen
from mlx_trace.errors import UserError
from mlx_trace.files import unreadable
from mlx_trace.language.syntax import NoTrace, parse
from mlx_trace.notice import tell

if TYPE_CHECKING:
    from mlx_trace.chat import Reply
    from mlx_trace.decode.decoder import Decoder
    from mlx_trace.decode.params import SamplingParams
    from mlx_trace.evaluate.vote import Vote

HELP: Final = """\
Type a word problem and press Return. Each question stands by itself.
  h, /help    show this
  r, /reset   clear the screen and count questions from 1 again
  q, /quit    leave (so does Ctrl-D)"""
_USAGE: Final = 2
_MOST_ANSWERS: Final = 3  # that a vote shows beside the one that wins
_MARK: Final = "\ufeff"  # that some editors put before a text
_COMMANDS: Final = {"h": "help", "/help": "help", "help": "help", "?": "help", "r": "reset", "/reset": "reset",
                    "reset": "reset", "q": "quit", "/quit": "quit", "quit": "quit", "exit": "quit"}  # fmt: skip


def add_chat_options(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser)
    add_decoding_options(parser)
    add_sampling_options(parser)
    line = ('print a line {"question", "trace", "kind", "answer", "detail", "unused"} for each question; with several '
            'samples also {"samples", "agreement", "split", "votes"}')  # fmt: skip
    parser.add_argument("--json", action="store_true", help=line)


def run_chat(options: argparse.Namespace) -> int:
    params = sampling_of(options)
    standard_input()  # or there is nobody to ask
    base, prompt = load_named(options)
    from mlx_trace.decode.decoder import Decoder
    from mlx_trace.decode.engine import MAX_SEQUENCES
    from mlx_trace.model.prompts import Prompter

    at_once = min(params.n, MAX_SEQUENCES)
    decoder = Decoder(base, Prompter(base.tokenizer, prompt), decoding_of(options), max_sequences=at_once)
    decoder.check(params.max_tokens)
    name = base.name if options.adapter_path is None else f"{base.name} with {options.adapter_path.name}"
    return Chat(decoder, name, params, options.json).run()


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
            question = line.removeprefix(_MARK).strip()
            if not _is_text(question):
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
        self.asked += 1
        if not self.interactive and not self.as_json:
            self.console.print(f"> {question}", style="bold")
        try:
            reply, vote = self._poll(question) if self.params.n > 1 else (self._stream(question), None)
        except UserError as error:  # this question cannot be asked; the next one may
            self._refuse(question, error)
            return
        except KeyboardInterrupt:
            if not self.interactive:
                raise
            self.console.print("\n(stopped)")
            return
        if self.as_json:
            row = {"question": question, "trace": reply.text, "kind": reply.grade.kind, "answer": reply.grade.answer,
                   "detail": reply.grade.detail, "unused": reply.unused}  # fmt: skip
            show_json(row | (_vote_json(vote) if vote else {}), flush=True)
        else:
            self._show(reply)
            self._show_doubts(reply, vote)

    def _refuse(self, question: str, error: UserError) -> None:
        if self.as_json:
            row = {"question": question, "trace": "", "kind": "parse_failure", "answer": None, "detail": str(error),
                   "unused": ()}  # fmt: skip
            show_json(row, flush=True)
        else:
            self.console.print(str(error), style="bold red")

    def _stream(self, question: str) -> "Reply":
        from mlx_trace.chat import Reply, ask

        for event in ask(self.decoder, question, self.params):
            if isinstance(event, Reply):
                return event
            if not self.as_json:
                self.console.print(event, end="", style="dim", soft_wrap=True)
        raise RuntimeError("the reply ended without a grade")

    def _poll(self, question: str) -> "tuple[Reply, Vote]":
        from mlx_trace.chat import poll

        with self.console.status(f"{self.params.n} replies") if self.interactive else contextlib.nullcontext():
            return poll(self.decoder, question, self.params)

    def _show(self, reply: "Reply") -> None:
        self.console.print("\n" if self.params.n == 1 else "")
        trace = parse(reply.text)
        if isinstance(trace, NoTrace):
            cut = " (it was cut off; --max-tokens allows more)" if reply.truncated else ""
            self.console.print(f"no trace: {reply.grade.detail}{cut}", style="bold red")
            return
        print_ledger(self.console, trace)
        if reply.grade.answer is not None:
            self.console.print(f"= {reply.grade.answer}", style="bold green")

    def _show_doubts(self, reply: "Reply", vote: "Vote | None") -> None:
        """Say how far the samples agree, and which numbers of the question the answer does without."""
        if vote is not None:
            self.console.print(say_vote(vote), style="yellow" if vote.is_split or vote.winner is None else "")
        if reply.unused:
            self.console.print(f"this answer does not use {', '.join(reply.unused)}", style="yellow")


def say_vote(vote: "Vote") -> str:
    """Return how far samples agree, in words: 6 of 8 say 12, 1 says 7, 1 has no answer."""
    n, heaviest = len(vote.ballots), vote.winner
    if heaviest is None:
        return f"none of {n} replies has an answer"
    counts = [len(one.samples) for one in vote.candidates]
    first, *others = [f"{count} {'say' if count > 1 else 'says'} {one}" for count, one in
                      zip(counts, vote.candidates, strict=True)]  # fmt: skip
    shown = [first.replace(" ", f" of {n} ", 1), *others[:_MOST_ANSWERS]]
    if left := sum(counts[1 + _MOST_ANSWERS :]):
        shown.append(f"{left} say{'' if left > 1 else 's'} something else")
    if silent := n - sum(counts):
        shown.append(f"{silent} {'have' if silent > 1 else 'has'} no answer")
    split = "the vote is split: " if vote.is_split else ""
    outvoted = " (the first uses more of the question's numbers)" if max(counts) > counts[0] else ""
    return f"{split}{', '.join(shown)}{outvoted}"


def _vote_json(vote: "Vote") -> dict[str, Any]:
    return {"samples": len(vote.ballots), "agreement": round(float(vote.agreement), 4), "split": vote.is_split,
            "votes": vote.as_json()}  # fmt: skip


def _is_text(line: str) -> bool:
    """Tell whether a line was UTF-8: bytes that were not are half characters here."""
    return not any("\ud800" <= character <= "\udfff" for character in line)
