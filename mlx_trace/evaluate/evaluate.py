"""Model + problems → the records of its replies: first ones, and after those that failed further turns.

Takes a loaded base (with its adapter in it), problems, and the way in which they are asked.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mlx_trace.config_decoding import Decoding
from mlx_trace.decode.decoder import Decoder
from mlx_trace.decode.engine import MAX_SEQUENCES
from mlx_trace.decode.episode import Episode
from mlx_trace.decode.params import SamplingParams
from mlx_trace.errors import UserError
from mlx_trace.evaluate.nearest import Examples
from mlx_trace.evaluate.record import Record
from mlx_trace.evaluate.repair import Turn, conversation
from mlx_trace.evaluate.way import ReplyWay
from mlx_trace.language.grade import grade
from mlx_trace.model.base import Base
from mlx_trace.model.prompts import Prompter, TurnPair
from mlx_trace.notice import tell
from mlx_trace.problems.problem import Problem
from mlx_trace.seeds import derive_seed

Keep = Callable[[int, Sequence[Record]], None]  # takes a problem's number, and its records


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who is told how many replies are done, of a turn of repair with how many there are, and gets what is done."""

    replied: Callable[[int], None] = lambda done: None
    repaired: Callable[[int, int, int], None] = lambda turn, done, total: None
    keep: Keep = lambda number, records: None


def evaluate(
    base: Base, prompter: Prompter, problems: Sequence[Problem], max_tokens: int, decoding: Decoding,
    batch_size: int = MAX_SEQUENCES, report: Callable[[int], None] = lambda done: None,
) -> list[Record]:  # fmt: skip
    """Return a record for each problem, in order, of its greedy reply; see `sample`."""
    way = ReplyWay(SamplingParams(max_tokens), decoding)
    return [record for (record,) in sample(base, prompter, problems, way, batch_size, Watcher(report))]


def sample(
    base: Base, prompter: Prompter, problems: Sequence[Problem], way: ReplyWay, batch_size: int = MAX_SEQUENCES,
    watcher: Watcher | None = None, known: Mapping[int, Sequence[Record]] | None = None,
    examples: Sequence[Examples] | None = None,
) -> list[list[Record]]:  # fmt: skip
    """Return for each problem, in order, the records of its `way.params.n` replies; the expert is not asked for.

    `batch_size` replies are decoded at once; it decides memory and speed, not the replies. Problems whose numbers are
    `known` are not asked again. `examples`, one a problem, are shown before it.
    """
    asker = _Asker(Decoder(base, prompter, way.decoding, batch_size), problems, way, watcher or Watcher(), examples)
    asker.records |= {number: list(own) for number, own in (known or {}).items()}
    asker.ask()
    for turn in range(1, way.repair + 1):
        asker.repair(turn)
    return [asker.records[number] for number in range(len(problems))]


class _Asker:
    """Problems, and the records of replies to them as far as they have come, by the problems' numbers."""

    def __init__(
        self, decoder: Decoder, problems: Sequence[Problem], way: ReplyWay, watcher: Watcher,
        examples: Sequence[Examples] | None,
    ) -> None:  # fmt: skip
        self.decoder, self.problems, self.way, self.watcher = decoder, problems, way, watcher
        self.examples = examples
        self.records: dict[int, list[Record]] = {}
        self.has_told = False

    def ask(self) -> None:
        """Let the model reply to every problem that has no replies yet."""
        params = self.way.params
        left = [number for number in range(len(self.problems)) if number not in self.records]
        replies: dict[int, list[Episode]] = {number: [] for number in left}
        done, latest = params.n * len(self.records), time.perf_counter()
        prompts = None if self.examples is None else [self._prompt(number, ()) for number in left]
        for episode in self.decoder.finished(self._questions(left), params, left, prompts):
            number = left[episode.prompt]
            replies[number].append(episode)
            done += 1
            self.watcher.replied(done)
            if len(replies[number]) == params.n:
                now = time.perf_counter()
                own = sorted(replies.pop(number), key=lambda episode: episode.number)
                self.records[number] = self._first(number, own, now - latest)
                self.watcher.keep(number, self.records[number])
                latest = now

    def repair(self, turn: int) -> None:
        """Give the replies that have come so far without an answer back, for another one each."""
        failed = [(number, index) for number, own in sorted(self.records.items()) for index, record in enumerate(own)
                  if not record.valid and len(record.earlier) == turn - 1]  # fmt: skip
        asked = [(place, ids) for place in failed if (ids := self._room(*place)) is not None]
        streams = [derive_seed("repair", *place, turn) for place, _ in asked]
        params, latest = replace(self.way.params, n=1), time.perf_counter()
        questions = self._questions(number for (number, _), _ in asked)
        waiting = Counter(number for (number, _), _ in asked)
        episodes = self.decoder.finished(questions, params, streams, [ids for _, ids in asked])
        for done, episode in enumerate(episodes, start=1):
            (number, index), now = asked[episode.prompt][0], time.perf_counter()
            own = self.records[number]
            own[index] = own[index].followed(self._turns(number, [episode], now - latest)[0])
            latest = now
            waiting[number] -= 1
            self.watcher.repaired(turn, done, len(asked))
            if not waiting[number]:
                self.watcher.keep(number, own)

    def _questions(self, numbers: Iterable[int]) -> list[str]:
        return [self.problems[number].question for number in numbers]

    def _prompt(self, number: int, turns: Sequence[Turn], left_out: int = 0) -> list[int]:
        """Return the ids that ask a problem again after some turns, its examples before it but for the first few."""
        said, before = conversation(self.problems[number].question, turns)
        return self.decoder.prompter.ids(said, [*self._shown(number)[left_out:], *before])

    def _shown(self, number: int) -> Sequence[TurnPair]:
        return () if self.examples is None else self.examples[number].exchanges

    def _room(self, number: int, index: int) -> list[int] | None:
        """Return the ids of a reply's next turn, examples left out for want of room; None where there is none even so.

        Such a conversation ends where it is.
        """
        turns, positions = self.records[number][index].turns, self.decoder.positions
        for left_out in range(len(self._shown(number)) + 1):
            try:
                ids = self._prompt(number, turns, left_out)
            except UserError as error:  # what a model wrote may be what its own template does not write
                self._tell(f"a reply cannot be given back for repair: {error}")
                return None
            if positions is None or len(ids) + self.way.params.max_tokens <= positions:
                return ids
        self._tell(f"{self.decoder.name} was made for {positions:,} tokens: a conversation that would be longer is not "
                   "repaired any more")  # fmt: skip
        return None

    def _tell(self, line: str) -> None:
        if not self.has_told:
            tell(line)
        self.has_told = True

    def _first(self, number: int, episodes: Sequence[Episode], seconds: float) -> list[Record]:
        """Return the records of a problem's first replies."""
        names = None if self.examples is None else self.examples[number].names
        return [
            Record(self.problems[number], turn.output, turn.grade, turn.tokens, turn.sampled, turn.truncated,
                   turn.seconds, turn.prompt_tokens, (), names)
            for turn in self._turns(number, episodes, seconds)
        ]  # fmt: skip

    def _turns(self, number: int, episodes: Sequence[Episode], seconds: float) -> list[Turn]:
        """Return replies to a problem, which took so long, as turns; equal texts are graded once."""
        texts = [self.decoder.prompter.decode(episode.ids) for episode in episodes]
        grades = {text: grade(text, self.problems[number].expected) for text in set(texts)}
        each = seconds / max(1, sum(len(episode.ids) for episode in episodes))
        return [
            Turn(text, grades[text], len(episode.prompt_ids), len(episode.ids), sum(episode.sampled),
                 episode.truncated, each * len(episode.ids))
            for text, episode in zip(texts, episodes, strict=True)
        ]  # fmt: skip
