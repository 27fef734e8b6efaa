"""A conversation: the model that is asked, how, and what was asked and answered; each question stands by itself.

Takes questions; shows answers on a screen as they come. A question that cannot be asked is a `UserError`.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mlx_trace.api.loading import NO_ADAPTER
from mlx_trace.cli.options import sampling_of
from mlx_trace.cli.reply import follow, follow_vote, show_reply
from mlx_trace.cli.screen import Screen
from mlx_trace.errors import UserError
from mlx_trace.resources import expanded

if TYPE_CHECKING:
    from mlx_trace.chat import Reply
    from mlx_trace.decode.decoder import Decoder
    from mlx_trace.decode.params import SamplingParams
    from mlx_trace.evaluate.vote import Vote

Opener = Callable[[argparse.Namespace, "SamplingParams"], "tuple[Decoder, str]"]
_ADAPTER: Final = "adapter_config.json"


@dataclass
class Round:
    """A question, its replies that failed and were given back, and the last one; None where it was stopped."""

    question: str
    failed: "list[Reply]"
    reply: "Reply | None" = None
    vote: "Vote | None" = None


class Talk:
    """A model and what it was asked."""

    def __init__(self, options: argparse.Namespace, opener: Opener, screen: Screen, interactive: bool) -> None:
        self.options, self.opener, self.screen, self.interactive = options, opener, screen, interactive
        self.params = sampling_of(options)
        self.decoder, self.name = self._opened(options)
        self.asked = self.again = 0
        self.last: Round | None = None
        self.rows: list[dict[str, Any]] = []

    def ask(self, question: str, mark: str) -> None:
        """Ask a question, show its answer while it comes, and keep it."""
        from mlx_trace.chat import ask, check, polling

        check(question)
        turn, self.again = Round(question, []), 0
        self.asked += 1
        events = polling if self.params.n > 1 else ask
        self._answer(turn, mark, self.params.n, lambda: events(self.decoder, question, self.params))

    def ask_again(self, mark: str) -> None:
        """Ask the last question anew, with another seed; a greedy reply, which would be the same, is sampled."""
        from mlx_trace.chat import ask, polling
        from mlx_trace.config import VOTING_TEMPERATURE

        last, self.again = self._needed(), self.again + 1
        turn = Round(last.question, [])
        params = replace(self.params, temperature=self.params.temperature or VOTING_TEMPERATURE,
                         seed=self.params.seed + self.again)  # fmt: skip
        events = polling if params.n > 1 else ask
        self._answer(turn, mark, params.n, lambda: events(self.decoder, last.question, params))

    def repair(self, mark: str) -> None:
        """Give the last reply, if the solver has no answer, back with what is wrong."""
        from mlx_trace.chat import repair

        last = self._needed()
        if last.reply is None:
            raise UserError("the last reply was stopped, so that there is nothing to give back; /again asks anew")
        if last.reply.grade.answer is not None:
            raise UserError("the last reply runs, and the solver does not know the right answer; /again asks anew")
        turn = Round(last.question, [*last.failed, last.reply])
        params = replace(self.params, n=1)
        self._answer(turn, mark, 1, lambda: repair(self.decoder, last.question, turn.failed, params))

    def load(self, model: str, adapter: str | None) -> None:
        """Ask another model from now on; if it cannot be loaded, the one that there is stays."""
        options = argparse.Namespace(**vars(self.options))
        folder = expanded(model)
        is_adapter = (folder / _ADAPTER).is_file()
        options.model = None if is_adapter else model
        options.adapter_path = folder if is_adapter else expanded(adapter) if adapter else None
        if adapter == NO_ADAPTER:
            options.adapter_path = Path(NO_ADAPTER)
        self.decoder, self.name = self._opened(options)
        self.options = options

    def sample(self, samples: int) -> None:
        """Ask for so many replies from now on, which vote."""
        options = argparse.Namespace(**{**vars(self.options), "samples": samples})
        self.params, self.options = sampling_of(options), options

    def _opened(self, options: argparse.Namespace) -> "tuple[Decoder, str]":
        if self.screen.is_terminal:
            self.screen.print(f"loading {options.model or options.adapter_path or 'the model'} …", style="dim")
        return self.opener(options, self.params)

    def _needed(self) -> Round:
        if self.last is None:
            raise UserError("nothing was asked yet")
        return self.last

    def _answer(self, turn: Round, mark: str, samples: int, events: "Callable[[], Iterator[Any]]") -> None:
        """Show an answer while it comes, and keep it; Ctrl-C leaves what has come by then."""
        from mlx_trace.chat import as_row

        show = self._draw if self.screen.is_terminal and not self.screen.is_dumb_terminal else self._print
        try:
            show(turn, mark, samples, events)
        except KeyboardInterrupt:
            self.last = turn
            raise
        self.last = turn
        assert turn.reply is not None
        row = as_row(turn.question, turn.reply, turn.vote)
        self.rows.append({**row, "model": self.name, "repairs": len(turn.failed)})

    def _draw(self, turn: Round, mark: str, samples: int, events: "Callable[[], Iterator[Any]]") -> None:
        from mlx_trace.cli.frame import drawn_on
        from mlx_trace.cli.live import AnswerView, show_polled, show_written

        view = AnswerView(turn.question, mark, samples=samples)
        with drawn_on(self.screen) as frame:
            try:
                if samples > 1:
                    turn.reply, turn.vote = show_polled(frame, view, events())
                else:
                    turn.reply = show_written(frame, view, events())
            except KeyboardInterrupt:
                frame.draw(view.rendered, is_final=True)
                raise

    def _print(self, turn: Round, mark: str, samples: int, events: "Callable[[], Iterator[Any]]") -> None:
        if not self.interactive or not self.screen.is_terminal:  # or it stands there as it was typed
            self.screen.print(f"{mark}{turn.question}", style="bold")
        if samples > 1:
            turn.reply, turn.vote = follow_vote(events(), samples, self.screen)
        else:
            turn.reply = follow(events(), self.screen)
        show_reply(self.screen, turn.reply, turn.vote)
