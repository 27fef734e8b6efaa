"""A server answers whatever it is sent with an error of its form, goes on, and says nothing that acts on a terminal."""

import json
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.bad_inputs.case import is_plain
from tests.bad_inputs.requests import QUESTION, REQUESTS, Request

pytest.importorskip("httpx2")

from tests.serve.test_server import Process, running

WAIT = 30.0  # seconds


@pytest.fixture(scope="module")
def server() -> Iterator[Process]:
    with running("--max-sequences", "4", "--allowed-host", "Tunnel.example") as one:
        yield one
        assert one.client.get("/health").json() == {"status": "ok", "model": "tiny", "replies": 0}
        assert b"data: [DONE]" in ended_within_a_stream(one)
        code, told = one.end()
        assert (code, "Traceback" in told, is_plain(told.replace("\n", ""))) == (0, False, True), told


def connected(server: Process) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.client.base_url.port), timeout=WAIT)


def answered(server: Process, sent: bytes) -> bytes:
    """Return all that comes back until the server ends the connection."""
    came = b""
    with connected(server) as client, suppress(ConnectionError):
        client.sendall(sent)
        while piece := client.recv(1 << 16):
            came += piece
    return came


def ended_within_a_stream(server: Process) -> bytes:
    """Ask for a stream, end the server within it, and return what came of it."""
    data = (QUESTION % ', "stream": true').encode()
    with connected(server) as client:
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                       b"Content-Length: %d\r\n\r\n" % len(data) + data)  # fmt: skip
        came = client.recv(100)
        server.process.send_signal(signal.SIGTERM)
        while piece := client.recv(1 << 16):
            came += piece
    return came


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.name)
def test_a_bad_request_is_refused_and_the_server_goes_on(server: Process, request_: Request) -> None:
    head, _, body = answered(server, request_.sent).partition(b"\r\n\r\n")
    status = int(head.split()[1]) if head else 0
    assert status in ((0, 400) if request_.status == 0 else (request_.status,))  # who sends too much may not hear of it
    assert b"access-control-allow-origin" not in head.lower()
    assert is_plain(body.decode().replace("\r\n", ""))
    assert request_.said in body.decode().replace('\\"', '"')
    if status >= 400 and b"application/json" in head:
        assert {"message", "type", "param", "code"} == json.loads(body)["error"].keys()
    assert server.client.get("/health").json()["replies"] == 0


def test_slow_clients_and_those_that_leave_hold_nobody_up(server: Process) -> None:
    slow = [connected(server) for _ in range(100)]
    try:
        for client in slow:
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.")
        for client in slow[:50]:
            client.shutdown(socket.SHUT_WR)
        began = time.monotonic()
        assert server.ask().status_code == 200
        assert time.monotonic() - began < WAIT
    finally:
        for client in slow:
            client.close()
    server.await_replies(0)
