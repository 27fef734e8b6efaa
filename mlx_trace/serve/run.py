"""A server's life: the model is loaded, requests are served, and a signal lets it end well."""

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

import uvicorn

from mlx_trace.config_serve import Limits
from mlx_trace.decode.decoder import Decoder
from mlx_trace.notice import tell
from mlx_trace.serve.address import url_of
from mlx_trace.serve.app import make_app
from mlx_trace.serve.hosts import is_loopback
from mlx_trace.serve.inquiry import Served
from mlx_trace.serve.log import Told
from mlx_trace.serve.worker import Worker

_STOPS: Final = (signal.SIGINT, signal.SIGTERM)
_KEPT_ALIVE: Final = 30  # seconds that a connection may be idle


class Server(uvicorn.Server):
    """Ends well after a signal, and at once after a second one."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take Ctrl-C and SIGTERM as a wish to end, which is then no failure."""
        before = {number: signal.signal(number, self.handle_exit) for number in _STOPS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Finish what was begun; or leave it, if that was asked for already."""
        if self.should_exit:
            leave(128 + sig)
        self.should_exit = True
        tell("finishing what was begun; once more ends at once")


def leave(code: int) -> NoReturn:
    """End the process at once: what the worker's thread has made of MLX's does not always survive Python's own end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, RuntimeError):  # nobody reads it any more
            continue
    os._exit(code)


def serve(
    load: Callable[[], tuple[Decoder, Served]], taken: socket.socket, limits: Limits,
    announce: Callable[[str, Served], None], origins: list[str], is_quiet: bool, names: Sequence[str] = (),
) -> NoReturn:  # fmt: skip
    """Serve at a socket until a signal comes, and end the process; `announce` is told where, once it answers.

    At a loopback address it is called localhost or one of the `names`; elsewhere whatever leads to it, without names.
    """
    worker = Worker(load, limits)
    worker.start()
    try:
        served = worker.ready.result()
    except KeyboardInterrupt:
        leave(128 + signal.SIGINT)
    is_known = bool(names) or is_loopback(taken.getsockname()[0])
    app = make_app(worker, served, limits, origins, is_quiet, names if is_known else None)
    _log_to_stderr()
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="on", server_header=False, ws="none", http="h11",
        loop="asyncio", timeout_keep_alive=_KEPT_ALIVE, timeout_graceful_shutdown=int(limits.timeout) + 1,
        proxy_headers=False,
    )  # fmt: skip
    announce(url_of(taken), served)
    Server(config).run([taken])
    leave(0)


def _log_to_stderr() -> None:
    """Let warnings of the libraries be told as everything is."""
    for name in ("uvicorn", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [Told()], False
        logger.setLevel(logging.WARNING)
