"""A model asked all problems of an evaluation, in one way or several, with its records kept while they come."""

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from mlx_trace.cli.counts import Counts, counts_of
from mlx_trace.cli.records import file_of, reporter
from mlx_trace.cli.screen import Screen
from mlx_trace.cli.ways import AskedWay
from mlx_trace.files import is_stream, sha256
from mlx_trace.notice import tell
from mlx_trace.numbered import numbered

if TYPE_CHECKING:
    from rich.status import Status

    from mlx_trace.evaluate.kept import KeptRecords
    from mlx_trace.evaluate.nearest import Examples, Nearest
    from mlx_trace.evaluate.record import Record
    from mlx_trace.evaluate.suites import ProblemSet
    from mlx_trace.model.base import Base
    from mlx_trace.model.prompts import Prompter

NEAREST: Final = 3  # examples, unless it is said how many


@dataclass(frozen=True, slots=True)
class MeasuredWay:
    """What was measured in one way, and what has kept the records while they came."""

    asked: AskedWay
    counts: Counts
    kept: "KeptRecords | None"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model and the problems that it is measured on, in one way or several."""

    options: argparse.Namespace
    base: "Base"
    prompter: "Prompter"
    drawn: "ProblemSet"

    def described(self, asked: AskedWay) -> dict[str, Any]:
        """Return what is measured, and how replies are asked for and held."""
        adapter = None if self.options.adapter_path is None else str(self.options.adapter_path)
        sample = {"sample": told} if (told := self.drawn.as_json()) else {}
        return {"model": self.base.name, "adapter": adapter, "data": self.options.data, **asked.way.as_json(), **sample}

    def examples(self, nearest: "Nearest") -> "list[Examples]":
        """Return the examples that are shown before each problem, as far as the model has room for them."""
        from mlx_trace.evaluate.nearest import examples_for
        from mlx_trace.model.config_json import positions_of

        positions, k = positions_of(self.base.config), self.options.nearest or NEAREST
        most = None if positions is None else positions - self.options.max_tokens
        with Screen(stderr=True).status("choosing examples"):
            return [examples_for(nearest, k, problem.question, self.prompter, most) for problem in self.drawn.problems]

    def measure(self, asked: AskedWay, examples: "Sequence[Examples] | None") -> MeasuredWay:
        """Ask all problems in one way, keeping records while they come where they are to be written."""
        kept = self._kept(asked, examples)
        if kept and kept.known:
            tell(f"{len(kept.known)} of {numbered(len(self.drawn.problems), 'record')} in {kept.path}: going on")
        try:
            with Screen(stderr=True).status("") as status:
                records = self._sample(asked, examples, kept, status)
        except KeyboardInterrupt:
            if kept:
                tell(f"stopped; what is done is in {kept.path}, and the same command goes on")
            raise
        finally:
            if kept:
                kept.close()
        return MeasuredWay(asked, counts_of(records, self.options.by, asked.way.repair), kept)

    def _sample(
        self, asked: AskedWay, examples: "Sequence[Examples] | None", kept: "KeptRecords | None", status: "Status"
    ) -> "list[list[Record]]":
        from mlx_trace.evaluate.evaluate import Watcher, sample

        def repaired(turn: int, done: int, total: int) -> None:
            status.update(f"{named}repair {turn}: {done} of {total}")

        problems, samples, known = self.drawn.problems, asked.way.params.n, kept.known if kept else {}
        named = f"{asked.name}: " if asked.name else ""
        replied = reporter(lambda told: status.update(named + told), samples * len(problems), samples * len(known))
        watcher = Watcher(replied, repaired, kept.keep) if kept else Watcher(replied, repaired)
        return sample(self.base, self.prompter, problems, asked.way, self.options.batch_size, watcher, known, examples)

    def _kept(self, asked: AskedWay, examples: "Sequence[Examples] | None") -> "KeptRecords | None":
        """Return what keeps the records while they come; nothing where they are not written, or to a pipe."""
        from mlx_trace.evaluate.kept import KeptRecords
        from mlx_trace.model.adapter import ADAPTER_WEIGHTS

        output, adapter = self.options.output, self.options.adapter_path
        if output is None or is_stream(output):
            return None
        weights = "" if adapter is None else sha256(adapter / ADAPTER_WEIGHTS)
        shown = None if examples is None else [own.names for own in examples]
        settings = {**self.described(asked), "weights": weights, "prompt": self.prompter.prompt.model_dump(),
                    **asdict(asked.way.params), "examples": shown and _digest(shown)}  # fmt: skip
        return KeptRecords(file_of(output, asked.name), settings, self.drawn.problems, asked.way.params.n)


def _digest(names: Sequence[Sequence[str]]) -> str:
    return hashlib.sha256("\n".join("\t".join(own) for own in names).encode()).hexdigest()[:16]
