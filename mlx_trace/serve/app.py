"""The server's routes, as an ASGI application: bodies in, completions and streams out, errors as OpenAI words them.

Takes a worker and what is served. Knows nothing of sockets or signals.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from mlx_trace.config_serve import Limits
from mlx_trace.serve.completion import Completion, as_json, events
from mlx_trace.serve.hosts import KnownHosts
from mlx_trace.serve.inquiry import Refusal, Served, no_such_model, read_inquiry
from mlx_trace.serve.log import RequestLog
from mlx_trace.serve.page import page_routes
from mlx_trace.serve.ticket import Left, Ticket, Timeout
from mlx_trace.serve.worker import Event, Full, Unasked, Worker

_JSON: Final = "application/json"
_PATHS: Final = "POST /v1/chat/completions, GET /v1/models and GET /health (a client's base URL ends in /v1)"
_DRAINED: Final = 64 << 20  # bytes of a body that is too large, which are read so that its sender hears of it
_STOPPING: Final = 10.0  # seconds


class Routes:
    """What is answered, and how."""

    def __init__(self, worker: Worker, served: Served, limits: Limits) -> None:
        self.worker, self.served, self.limits, self.began = worker, served, limits, int(time.time())
        self.reading = 0  # bodies

    async def health(self, _: Request) -> Response:
        """Tell whether requests are served, and how many replies are written or wait."""
        if not self.worker.is_alive:
            return json_response({"status": "unavailable"}, HTTPStatus.SERVICE_UNAVAILABLE)
        return json_response({"status": "ok", "model": self.served.model, "replies": self.worker.replies})

    async def models(self, _: Request) -> Response:
        """List the one model."""
        return json_response({"object": "list", "data": [self._model()]})

    async def model(self, request: Request) -> Response:
        """Describe the one model."""
        if request.path_params["name"] != self.served.model:
            raise no_such_model(request.path_params["name"], self.served)
        return json_response(self._model())

    def _model(self) -> dict[str, Any]:
        return {"id": self.served.model, "object": "model", "created": self.began, "owned_by": "mlx-trace"}

    async def complete(self, request: Request) -> Response:
        """Answer a question, at once or as a stream."""
        inquiry = read_inquiry(await self._body(request), self.served)
        completion = Completion(inquiry, self.served.model)
        ticket, is_open = Ticket(self.worker, inquiry, self.limits.timeout), False
        try:
            first = _checked(await ticket.event(request))
            if inquiry.streams:
                is_open = True
                return EventStream(completion, ticket, first)
            last = first if isinstance(first, Unasked) else _checked(await ticket.last(request))
            return json_response(completion.whole(last))
        finally:
            if not is_open:
                ticket.close()

    async def _body(self, request: Request) -> bytes:
        """Return a body of JSON; Refusal if it is none, too large or too slow, Full if too many are being read."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != _JSON:
            raise Refusal(f"the body has to be {_JSON}, as the header Content-Type says",
                          status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE)  # fmt: skip
        if self.reading >= self.limits.max_bodies:
            raise Full
        self.reading += 1
        try:
            async with asyncio.timeout(self.limits.body_timeout):
                data, size = await self._read(request)
        except TimeoutError:
            raise Refusal("the body did not come in time", status=HTTPStatus.REQUEST_TIMEOUT) from None
        finally:
            self.reading -= 1
        if size > self.limits.max_body:
            raise Refusal(f"a body is at most {self.limits.max_body:,} bytes",
                          status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)  # fmt: skip
        return data

    async def _read(self, request: Request) -> tuple[bytes, int]:
        """Return a body, as far as it may go, and its length."""
        data, size = bytearray(), 0
        async for chunk in request.stream():
            size += len(chunk)
            if size <= self.limits.max_body:
                data += chunk
            elif size > _DRAINED:
                break
        return bytes(data), size


class EventStream(StreamingResponse):
    """A completion as server-sent events; its ticket is given back however it ends, were it before it began."""

    def __init__(self, completion: Completion, ticket: Ticket, first: Event) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(events(completion, ticket, first), media_type="text/event-stream", headers=headers)
        self.ticket = ticket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.ticket.close()


E = TypeVar("E", bound=Event)


def _checked(event: E) -> E:
    """Return an event, unless it says that there is no answer."""
    if isinstance(event, Unasked) and event.is_bug:
        raise Refusal(event.reason, status=HTTPStatus.INTERNAL_SERVER_ERROR)
    if isinstance(event, Unasked) and not event.is_answer:
        raise Refusal(event.reason, event.param)
    return event


def json_response(value: Any, status: int = HTTPStatus.OK, headers: dict[str, str] | None = None) -> Response:
    """Return a response of JSON."""
    return Response(as_json(value), status, headers, _JSON)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    server = error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return _error(error.status, error.message, error.param, error.code, "server_error" if server else None)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = f"{request.method} {request.url.path[:100]}: {error.detail.lower()}"
    if error.status_code == HTTPStatus.NOT_FOUND:
        words += f"; there are {_PATHS}"
    return _error(error.status_code, words, headers=dict(error.headers or {}))


async def _full(_: Request, __: Exception) -> Response:
    words = "as many replies wait as may; try again in a while"
    return _error(HTTPStatus.TOO_MANY_REQUESTS, words, kind="rate_limit_error", headers={"Retry-After": "1"})


async def _late(_: Request, __: Exception) -> Response:
    words = "the reply was not done in time"
    return _error(HTTPStatus.SERVICE_UNAVAILABLE, words, kind="server_error", headers={"Retry-After": "5"})


async def _left(_: Request, __: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it; the log does


async def _bug(_: Request, __: Exception) -> Response:
    words = "something went wrong here; the server's log says what"
    return _error(HTTPStatus.INTERNAL_SERVER_ERROR, words, kind="server_error")


def _error(
    status: int, message: str, param: str | None = None, code: str | None = None, kind: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:  # fmt: skip
    error = {"message": message, "type": kind or "invalid_request_error", "param": param, "code": code}
    return json_response({"error": error}, status, headers)


def make_app(
    worker: Worker, served: Served, limits: Limits, origins: list[str] | None = None, is_quiet: bool = False,
    names: Collection[str] | None = None,
) -> Starlette:  # fmt: skip
    """Return the application; pages of `origins` may use it from a browser, and no others.

    Without `names` it may be called by any.
    """
    routes = Routes(worker, served, limits)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(worker.stop, _STOPPING)

    middleware = [] if is_quiet else [Middleware(RequestLog)]
    if names is not None:
        middleware.append(Middleware(KnownHosts, names=names))
    if origins:
        middleware.append(Middleware(CORSMiddleware, allow_origins=origins, allow_methods=["GET", "POST"],
                                     allow_headers=["*"]))  # fmt: skip
    return Starlette(
        routes=[
            Route("/v1/chat/completions", routes.complete, methods=["POST"]),
            Route("/v1/models", routes.models),
            Route("/v1/models/{name:path}", routes.model),
            Route("/health", routes.health),
            *page_routes(),
        ],
        middleware=middleware, lifespan=lifespan,
        exception_handlers={Refusal: _refused, HTTPException: _http_error, Full: _full, Timeout: _late, Left: _left,
                            ClientDisconnect: _left, Exception: _bug},
    )  # fmt: skip
