"""The one thread that owns the network: jobs come in and are cancelled while others are decoded with them.

Takes jobs from any thread; publishes, from its own, how far each is. Knows nothing of HTTP.
"""

import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Final

import mlx.core as mx

from mlx_trace.chat import Reply, check, reply_to, settled
from mlx_trace.config_serve import Limits
from mlx_trace.decode.decoder import Decoder
from mlx_trace.decode.episode import Episode
from mlx_trace.errors import UserError
from mlx_trace.evaluate.vote import Vote, cast
from mlx_trace.notice import tell
from mlx_trace.numbered import numbered
from mlx_trace.serve.inquiry import Inquiry, Served
from mlx_trace.serve.stops import cut, held

_PATIENCE: Final = 1.0  # seconds without a request after which memory is given back


@dataclass(frozen=True, slots=True)
class Begun:
    """A job can be done, and waits for its turn."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What a reply's trace has grown by."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """All replies (of a vote the one that speaks), which of them a stop sequence ended, the vote, and tokens."""

    replies: Sequence[Reply]
    stopped: Sequence[bool]
    vote: Vote | None
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Unasked:
    """A job that is not done: there is nothing to compute in it, something in it cannot be, or something broke here."""

    reason: str
    param: str | None = None
    is_answer: bool = False
    is_bug: bool = False


Event = Begun | Piece | Done | Unasked


@dataclass(eq=False, slots=True)
class Job:
    """What is asked, and who is told, from the worker's thread."""

    inquiry: Inquiry
    publish: Callable[[Event], None]


@dataclass(slots=True)
class Running:
    """A job that is being done: of each reply the tokens that were looked at, what was shown, and where it stopped."""

    job: Job
    episodes: Sequence[Episode]
    unfinished: set[int]
    seen: list[int] = field(default_factory=list)
    sure: list[str] = field(default_factory=list)
    shown: list[int] = field(default_factory=list)
    stopped: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.episodes)
        self.seen, self.sure, self.shown = [0] * count, [""] * count, [0] * count


class Full(Exception):
    """As many replies wait as may."""


class Worker:
    """Loads a decoder in a thread of its own, and lets it reply there."""

    def __init__(self, load: Callable[[], tuple[Decoder, Served]], limits: Limits) -> None:
        self.ready: Future[Served] = Future()
        self.replies = 0  # that are written or wait
        self._load, self._limits, self._lock = load, limits, Lock()
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._writing: dict[int, Running] = {}
        self._numbers: dict[Job, int] = {}
        self._count = 0
        self._thread = Thread(target=self._run, name="mlx-trace worker", daemon=True)

    # --- from any thread ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to load; `ready` tells when that is done, or what went wrong."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Tell whether jobs are being done."""
        return self._thread.is_alive()

    def submit(self, job: Job) -> None:
        """Let a job be done; Full if too many replies wait."""
        with self._lock:
            most = self._limits.max_queue + self._limits.max_sequences
            if self.replies and self.replies + job.inquiry.params.n > most:
                raise Full
            self.replies += job.inquiry.params.n
        self._calls.put(lambda: self._begin(job))

    def cancel(self, job: Job) -> None:
        """Stop doing a job, if it is not done yet."""
        self._calls.put(lambda: self._forget(job))

    def stop(self, seconds: float) -> None:
        """End the thread after the pass at hand."""
        self._calls.put(None)
        self._thread.join(seconds)

    # --- in the worker's thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._decoder, served = self._load()
            self._scheduler = self._decoder.open()
        except Exception as error:  # whoever waits gets it
            self.ready.set_exception(error)
            return
        self.ready.set_result(served)
        with self._decoder.wired():
            goes_on = True
            while goes_on:
                try:
                    goes_on = self._listen() and self._pass()
                except Exception:  # memory that ran out, or a bug: these requests fail, and others need not
                    self._break()

    def _listen(self) -> bool:
        """Do what was asked for meanwhile, and wait where there is nothing else to do; return whether to go on."""
        while not (self._scheduler.is_busy and self._calls.empty()):
            call = self._next_call()
            if call is None:
                return False
            call()
        return True

    def _next_call(self) -> Callable[[], None] | None:
        try:
            return self._calls.get(timeout=_PATIENCE)
        except Empty:
            self._rest()
            return self._calls.get()

    def _rest(self) -> None:
        """Give back the memory of what was decoded."""
        self._scheduler = self._decoder.open()
        mx.clear_cache()

    def _begin(self, job: Job) -> None:
        self._count += 1
        self._numbers[job] = self._count
        try:
            check(job.inquiry.question)
        except UserError as error:
            self._end(job, Unasked(str(error), is_answer=True))
            return
        try:
            request = self._decoder.request(job.inquiry.question, job.inquiry.params)
        except UserError as error:
            self._end(job, Unasked(str(error), "messages"))
            return
        try:
            self._decoder.check_request(request, job.inquiry.params.max_tokens)
        except UserError as error:
            named = job.inquiry.limit or "this server's --max-tokens"
            self._end(job, Unasked(named + str(error).removeprefix("max_tokens"), job.inquiry.limit))
            return
        self._scheduler.add(self._count, request, job.inquiry.params)
        episodes = [self._scheduler.episodes[self._count, number] for number in range(job.inquiry.params.n)]
        self._writing[self._count] = Running(job, episodes, set(range(job.inquiry.params.n)))
        job.publish(Begun())

    def _forget(self, job: Job) -> None:
        if (number := self._numbers.pop(job, None)) is not None:
            self._writing.pop(number, None)
            self._scheduler.cancel(number)
            with self._lock:
                self.replies -= job.inquiry.params.n

    def _end(self, job: Job, event: Event) -> None:
        self._forget(job)
        job.publish(event)

    def _break(self) -> None:
        tell(
            f"a pass failed, and with it {numbered(len(self._numbers), 'request')}:\n{traceback.format_exc().rstrip()}"
        )
        for job in list(self._numbers):
            self._end(job, Unasked("something went wrong here; the server's log says what", is_bug=True))
        self._decoder.refresh()
        self._rest()

    def _pass(self) -> bool:
        for episode in self._scheduler.advance():
            self._writing[episode.prompt].unfinished.discard(episode.number)
        for writing in list(self._writing.values()):
            if writing.job.inquiry.streams or writing.job.inquiry.stops:
                self._look(writing)
            if not writing.unfinished:
                self._finish(writing)
        return True

    def _look(self, writing: Running) -> None:
        """Publish what has been written since, and note where a reply comes to a stop sequence."""
        stops = writing.job.inquiry.stops
        for number, episode in enumerate(writing.episodes):
            if number in writing.stopped or len(episode.ids) == writing.seen[number]:
                continue
            writing.seen[number] = len(episode.ids)
            writing.sure[number] += settled(self._decoder.prompter.decode(episode.ids), writing.sure[number])
            text = cut(writing.sure[number], stops)
            if text is not None:
                writing.stopped[number] = text
                writing.unfinished.discard(number)
            else:
                text = writing.sure[number]
                text = text[: len(text) - held(text, stops)]
            if writing.job.inquiry.streams and not writing.job.inquiry.is_vote and len(text) > writing.shown[number]:
                writing.job.publish(Piece(number, text[writing.shown[number] :]))
                writing.shown[number] = len(text)

    def _finish(self, writing: Running) -> None:
        job, episodes, stopped = writing.job, writing.episodes, dict(writing.stopped)
        texts = [self._decoder.prompter.decode(episode.ids) for episode in episodes]
        for number, text in enumerate(texts):
            if number not in stopped and (end := cut(text, job.inquiry.stops)) is not None:
                stopped[number] = end
        texts = [stopped.get(number, text) for number, text in enumerate(texts)]
        vote = Vote(cast(job.inquiry.question, texts)) if job.inquiry.is_vote else None
        chosen = range(len(texts)) if vote is None else [vote.speaker]
        replies = [reply_to(job.inquiry.question, texts[number], episodes[number]) for number in chosen]
        tokens = sum(len(episode.ids) for episode in episodes)
        self._end(
            job, Done(replies, [number in stopped for number in chosen], vote, len(episodes[0].prompt_ids), tokens)
        )
