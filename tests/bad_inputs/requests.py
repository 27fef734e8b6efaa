"""Requests to a server, as bytes: bodies, headers and paths that no client in its right mind sends."""

import json
from dataclasses import dataclass

QUESTION = '{"messages": [{"role": "user", "content": "I had 20 eggs and sold 4 of them. How many are left?"}]%s}'


@dataclass(frozen=True)
class Request:
    """What is sent, and the status that has to come back; `said` is part of the body, 0 is no answer at all."""

    name: str
    sent: bytes
    status: int
    said: str = ""


def _post(body: str | bytes, kind: str = "application/json", host: str = "127.0.0.1", length: object = None) -> bytes:
    data = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    count = len(data) if length is None else length
    return (f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {count}\r\n"
            "Connection: close\r\n\r\n").encode("latin-1") + data  # fmt: skip


def _get(path: str, host: str = "127.0.0.1", more: str = "", method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n".encode("latin-1")


def _bad(name: str, body: str | bytes, said: str) -> Request:
    return Request(f"a body that is {name}", _post(body), 400, said)


def _with(key: str, value: str, said: str) -> Request:
    return _bad(f"{key} {value}"[:40], QUESTION % f', "{key}": {value}', said)


REQUESTS = [
    _bad("empty", "", "not JSON"), _bad("half", '{"messages"', "not JSON"), _bad("an array", "[]", "not a JSON object"),
    _bad("nested without end", "[" * 100_000, "too deep"), _bad("objects without end", '{"a":' * 100_000, "too deep"),
    _bad("a number without end", f'{{"seed": {"9" * 5000}}}', "a number is too long"),
    _bad("of another encoding", "{}".encode("utf-16"), "messages: field required"), _bad("compressed", b"\x1f\x8b\x08\0", "not JSON"),
    _bad("nested messages", '{"messages":' + "[" * 900 + "]" * 900 + "}", "messages[0]: an object with a role"),
    _bad("a role that is a list", '{"messages": [{"role": ["user"], "content": "5 eggs"}]}', "messages[0]"),
    _bad("content that is an object", '{"messages": [{"role": "user", "content": {"a": 1}}]}', "messages[0].content"),
    _bad("three thousand messages", json.dumps({"messages": [{"role": "user", "content": "5"}] * 3000}), "at most 2000"),
    _bad("a key of escapes", QUESTION % ', "\\u001b[2J<b>": 1', "\\u001b[2J<b>: there is no such parameter"),
    _bad("a key of half a character", QUESTION % ', "\\ud800": 1', "there is no such parameter"),
    _with("n", "1000000", "n: "), _with("n", "true", "n: "), _with("n", "1.0", "n: "), _with("seed", "-2", "seed: "),
    _with("temperature", "1e999", "temperature: "), _with("temperature", "NaN", "temperature: "),
    _with("stop", '[""]', "stop: "), _with("stream", '"yes"', "stream: "), _with("tools", '[{"type": "function"}]', "tools: "),
    _with("max_completion_tokens", "5", "max_completion_tokens is 5, and the shortest trace takes"), _with("max_tokens", "5", "max_tokens is 5, and the shortest"),
    _with("max_completion_tokens", "0", "max_completion_tokens: input should be greater than or equal to 1, got 0"), _with("best_of", "3", "samples makes a vote"),
    _with("reasoning_efort", '"low"', "there is no such parameter"), Request("a model that is none", _get("/v1/models/nope"), 404, "there is no model 'nope'"),
    _with("response_format", '{"a":' * 900 + "1" + "}" * 900, "response_format: cannot be honoured"),
    Request("a model of escapes", _post(QUESTION % ', "model": "\\u001b[2J"'), 404, "there is no model"),
    Request("a body of two megabytes", _post(b'{"a": "' + b"x" * (2 << 20) + b'"}'), 413, "at most"),
    Request("text", _post(QUESTION % "", "text/plain"), 415), Request("a form", _post("a=b", "application/x-www-form-urlencoded"), 415),
    Request("two kinds", _post(QUESTION % "", "text/plain, application/json"), 415),
    Request("a length below zero", _post("{}", length=-5), 400), Request("a length in words", _post("{}", length="x"), 400),
    Request("chunks that are none", b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n", 400),
    # who is meant: a page elsewhere, whose name leads here
    Request("another's name", _post(QUESTION % "", host="evil.example"), 403, "this server is not called 'evil.example'"),
    Request("another's name and a port", _get("/health", "evil.example:80"), 403, "--allowed-host"),
    Request("a name that looks like an address", _get("/", "127.0.0.1.evil.example"), 403), Request("a name without an end", _get("/", "a" * 5000), 403),
    Request("another's name in full", b"GET http://evil.example/health HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", 403),
    Request("two names", b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n", 400),
    Request("a name with NUL", _get("/health", "127.0.0.1\0"), 400), Request("its own name", _get("/health", "LOCALHOST.:1"), 200),
    Request("its own address", _get("/health", "[::1]:80"), 200), Request("a name that was told", _get("/health", "tunnel.example"), 200),
    Request("no name, long ago", b"GET /health HTTP/1.0\r\n\r\n", 200),
    Request("a page's question before it asks", _get("/v1/chat/completions", more="Origin: https://evil.example\r\n"
            "Access-Control-Request-Method: POST\r\n", method="OPTIONS"), 405),
    # paths and headers
    *(Request(f"the path {path[:30]}", _get(path), 404) for path in (
        "/../../etc/passwd", "/..%2f..%2fetc%2fpasswd", "/page.css/../../x", "//etc/passwd", "/v1/models/../../etc",
        "/v1/models/%2e%2e%2fx", "/%00", "/page.js%00.css", "/v1/models/%1b%5b2J", "/" + "a" * 10_000,
    )),
    Request("a path without its version", _get("/chat/completions", method="POST"), 404, "; there are POST /v1/chat/completions"),
    Request("a header without an end", _get("/", more=f"X: {'a' * 300_000}\r\n"), 0), Request("headers without an end", _get("/", more="X: a\r\n" * 50_000), 0),
    Request("another protocol", b"\x16\x03\x01\x02\x00\x01\x00", 400), *(Request(method, _get("/v1/models", method=method), 405) for method in ("PUT", "DELETE", "TRACE")),
]  # fmt: skip
