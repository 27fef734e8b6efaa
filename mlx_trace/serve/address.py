"""Where a server listens: an address is taken before anything large is loaded, or it is said why it cannot be."""

import errno
import socket
from typing import Final

from mlx_trace.config_serve import Address
from mlx_trace.errors import UserError, why

_WAITING: Final = 128  # connections


def listening(address: Address) -> socket.socket:
    """Return a socket that has an address, and listens; UserError if it cannot be had."""
    try:
        addresses = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise UserError(f"--host {address.host!r}: there is no such host") from None
    family, kind, protocol, _, place = addresses[0]
    taken = socket.socket(family, kind, protocol)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind(place)
        taken.listen(_WAITING)  # who comes while the model is loaded waits
    except OSError as error:
        taken.close()
        reason = "it is in use; --port names another" if error.errno == errno.EADDRINUSE else why(error)
        raise UserError(f"{address.host}, port {address.port}: {reason}") from None
    return taken


def url_of(taken: socket.socket) -> str:
    """Return what a socket is reached by."""
    host, port = taken.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
