"""Which names a server is called by. A page elsewhere may have its own name lead here, and its browser believes it.

That is DNS rebinding: what gives it away is the name in the Host header. An address can be called by nobody else.
"""

import ipaddress
from collections.abc import Collection
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mlx_trace.serve.completion import as_json

_SHOWN: Final = 60  # characters of a name


def is_loopback(host: str) -> bool:
    """Tell whether an address is reached from this machine alone."""
    return _is_address(host) and ipaddress.ip_address(host.partition("%")[0]).is_loopback


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def name_of(header: str) -> str:
    """Return the host of a Host header, without its port."""
    host = header.strip().lower()
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.removesuffix(".")


class KnownHosts:
    """Turns away requests that call the server by a name which is not its own."""

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self.app, self.names = app, {"localhost", *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        header = Headers(scope=scope).get("host", "") if scope["type"] == "http" else ""
        name = name_of(header)
        if not header or name in self.names or _is_address(name):
            await self.app(scope, receive, send)
            return
        words = f"this server is not called {name[:_SHOWN]!r}; --allowed-host names what else it is called"
        error = {"message": words, "type": "invalid_request_error", "param": None, "code": "unknown_host"}
        await Response(as_json({"error": error}), HTTPStatus.FORBIDDEN, None, "application/json")(scope, receive, send)
