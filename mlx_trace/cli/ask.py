"""`mlx-trace ask`: one question, its answer, and an exit code that says whether the answer stands."""

import argparse
from pathlib import Path
from typing import Final

from mlx_trace.cli.chat import open_decoder
from mlx_trace.cli.options import add_decoding_options, add_model_options, add_sampling_options, sampling_of
from mlx_trace.cli.output import MARK, show, show_json, standard_input
from mlx_trace.cli.reply import ROW, answer, show_reply
from mlx_trace.cli.screen import Screen
from mlx_trace.errors import UserError
from mlx_trace.files import unreadable
from mlx_trace.notice import is_text

_MOST: Final = 1 << 20  # characters of a question on standard input


def add_ask_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("question", nargs="*", metavar="QUESTION",
                        help="the word problem; without one, or with -, all of standard input")  # fmt: skip
    add_model_options(parser)
    add_decoding_options(parser)
    add_sampling_options(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("-q", "--quiet", action="store_true", help="print the answer alone, or nothing")
    form.add_argument("--json", action="store_true", help=f"print a line {ROW}")


def run_ask(options: argparse.Namespace) -> int:
    """Return 0 for an answer, 1 for none or for a vote that is split."""
    from mlx_trace.chat import as_row, check

    params = sampling_of(options)
    question = _question(options.question)
    check(question)
    decoder, _ = open_decoder(options, params)
    console = None if options.json or options.quiet else Screen(soft_wrap=True)
    reply, vote = answer(decoder, question, params, console)
    stands = reply.grade.answer is not None and not (vote is not None and vote.is_split)
    if console:
        show_reply(console, reply, vote)
    elif options.json:
        show_json(as_row(question, reply, vote))
    elif stands:
        show(str(reply.grade.answer))
    return 0 if stands else 1


def _question(words: list[str]) -> str:
    """Return what is asked, on one line; UserError if it is nothing, or no text."""
    text = " ".join(words) if words not in ([], ["-"]) else _read()
    question = " ".join(text.removeprefix(MARK).split())
    if not question:
        raise UserError("there is no question: give it as an argument, or on standard input")
    if not is_text(question):
        raise UserError("the question is not UTF-8 text")
    return question


def _read() -> str:
    try:
        text = standard_input().read(_MOST + 1)
    except OSError as error:
        raise unreadable(Path("standard input"), error) from None
    if len(text) > _MOST:
        raise UserError(f"standard input: a question is at most {_MOST:,} characters long")
    return text
