"""What a server logs, on standard error: a line a request, without what was asked, and what goes wrong around it."""

import logging
import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlx_trace.notice import tell

_LONGEST: Final = 200  # characters of a path


class RequestLog:
    """Tells of each request once it is answered: who, what, how it went, and how long it took."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and note the status that goes back."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.monotonic(), 499

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except Exception:
            status = 500
            raise
        finally:
            host = scope["client"][0] if scope.get("client") else "?"
            path = scope["path"][:_LONGEST].replace("\n", " ")
            tell(f"{host} {scope['method']} {path} {status} {time.monotonic() - began:.2f} s")


class Told(logging.Handler):
    """Lets what libraries log go where everything is told."""

    def emit(self, record: logging.LogRecord) -> None:
        """Tell a record."""
        tell(self.format(record))
