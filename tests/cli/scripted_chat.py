"""`mlx-trace chat` with a model that says what a file holds, some characters at a time: a terminal in no time.

python -m tests.cli.scripted_chat REPLIES.json [SECONDS [FLAG…]]; the replies are a list of texts.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mlx_trace.cli import chat
from mlx_trace.cli.main import main
from mlx_trace.decode.episode import Episode
from mlx_trace.decode.params import SamplingParams
from mlx_trace.errors import UserError


class ScriptedDecoder:
    """Replies as scripted, over and over; ids are code points."""

    def __init__(self, replies: list[str], seconds: float) -> None:
        self.replies, self.seconds, self.asked = replies, seconds, 0
        self.prompts: list[Any] = []
        self.prompter = SimpleNamespace(
            decode=lambda ids: "".join(map(chr, ids)), ids=lambda said, before=(): (said, before)
        )

    def _next(self, number: int = 0) -> Episode:
        text = self.replies[self.asked % len(self.replies)]
        self.asked += 1
        return Episode(0, [], list(map(ord, text)), number=number)

    def stream(self, question: str, params: SamplingParams, prompt: Any = None) -> Iterator[Episode]:
        self.prompts.append(prompt)
        whole = self._next()
        for end in range(0, len(whole.ids), 5):
            time.sleep(self.seconds)
            yield Episode(0, [], whole.ids[:end])
        yield whole

    def finished(self, questions: list[str], params: SamplingParams) -> Iterator[Episode]:
        for number in range(params.n):
            time.sleep(self.seconds)
            yield self._next(number)


def opener(replies: list[str], seconds: float) -> Any:
    def open_decoder(options: argparse.Namespace, params: SamplingParams, at_once: int | None = None) -> Any:
        if options.model == "absent":
            raise UserError("absent: no such model")
        if options.model == "slow":
            time.sleep(60)
        return ScriptedDecoder(replies, seconds), options.model or "scripted"

    return open_decoder


def run(file: str, seconds: str = "0.01", *flags: str) -> int:
    replies = json.loads(Path(file).read_text(encoding="utf-8"))
    chat.open_decoder = opener(replies, float(seconds))
    return main(["chat", *flags])


if __name__ == "__main__":
    sys.exit(run(*sys.argv[1:]))
