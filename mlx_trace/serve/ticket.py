"""A request's place at the worker, as its coroutine sees it: events as they come, until it is done, late, or left."""

import asyncio
from contextlib import suppress

from starlette.requests import Request

from mlx_trace.serve.inquiry import Inquiry
from mlx_trace.serve.worker import Done, Event, Job, Unasked, Worker


class Timeout(Exception):
    """A request that took longer than it may."""


class Left(Exception):
    """A client that does not wait any more."""


class Ticket:
    """Takes its place at once (or raises Full); `close` gives it back, whatever has happened since."""

    def __init__(self, worker: Worker, inquiry: Inquiry, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._worker, self._until = worker, self._loop.time() + seconds
        self._job = Job(inquiry, self._publish)
        worker.submit(self._job)

    def _publish(self, event: Event) -> None:
        with suppress(RuntimeError):  # the loop has ended, and with it whoever would read this
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def next(self) -> Event:
        """Return the next event, or raise Timeout."""
        try:
            async with asyncio.timeout_at(self._until):
                return await self._events.get()
        except TimeoutError:
            raise Timeout from None

    async def event(self, request: Request) -> Event:
        """Return the next event, or raise Timeout, or Left once the client has gone."""
        coming, leaving = asyncio.create_task(self.next()), asyncio.create_task(_gone(request))
        try:
            await asyncio.wait((coming, leaving), return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                return coming.result()
            raise Left
        finally:
            for task in (coming, leaving):
                task.cancel()

    async def last(self, request: Request) -> Done | Unasked:
        """Return what ends the job, as `event` does."""
        while True:
            event = await self.event(request)
            if isinstance(event, Done | Unasked):
                return event

    def close(self) -> None:
        """Give the place back."""
        self._worker.cancel(self._job)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
