"""A real server answers what `mlx-trace ask` answers, whole and in pieces, many at once, and ends well."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mlx_trace.chat import as_row, poll, reply_to
from mlx_trace.config import VOTING_TEMPERATURE, Prompt
from mlx_trace.config_decoding import Decoding
from mlx_trace.decode.decoder import Decoder
from mlx_trace.decode.params import SamplingParams
from mlx_trace.model.adapter import load_adapter
from mlx_trace.model.base import load_base
from mlx_trace.model.prompts import Prompter
from mlx_trace.resources import adapters_dir

httpx = pytest.importorskip("httpx2")

EGGS = "I had 20 eggs and sold 4 of them. How many are left?"
MANY = 128  # replies: some seconds' work for a server of eight at once
WAIT = 120.0  # seconds


class Process:
    """A server's process, and a client of its address."""

    def __init__(self, *flags: str) -> None:
        command = [sys.executable, "-m", "mlx_trace", "serve", "--port", "0", *flags]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
        )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        self.url = next((word for word in self.line.split() if word.startswith("http")), "")
        self.client = httpx.Client(base_url=self.url.removesuffix("/v1"), timeout=WAIT)

    def ask(self, content: Any = EGGS, **body: Any) -> Any:
        return self.client.post(
            "/v1/chat/completions", json={"messages": [{"role": "user", "content": content}]} | body
        )

    def stream(self, content: Any = EGGS, **body: Any) -> Any:
        asked = {"messages": [{"role": "user", "content": content}], "stream": True} | body
        return self.client.stream("POST", "/v1/chat/completions", json=asked)

    def await_replies(self, count: int) -> None:
        """Wait until so many replies are written or wait."""
        until = time.monotonic() + WAIT
        while (now := self.client.get("/health").json()["replies"]) != count:
            assert time.monotonic() < until, f"{now} replies, and not {count}"
            time.sleep(0.05)

    def end(self) -> tuple[int, str]:
        """Return the exit code and what was told, of a process that ends."""
        _, told = self.process.communicate(timeout=WAIT)
        return self.process.returncode, told


@contextlib.contextmanager
def running(*flags: str) -> Iterator[Process]:
    server = Process(*flags)
    try:
        yield server
    finally:
        server.client.close()
        server.process.kill()
        server.process.communicate()


@pytest.fixture(scope="module")
def server() -> Iterator[Process]:
    with running("--max-sequences", "8", "--max-queue", "192", "-q", "--cors-origin", "https://a.example") as one:
        yield one


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    base = load_base("tiny")
    load_adapter(base, adapters_dir() / "tiny")
    return Decoder(base, Prompter(base.tokenizer, Prompt()), Decoding(rules="all"))


def row_of(choice: Any) -> Any:
    return {
        key: value for key, value in choice["mlx_trace"].items() if key not in ("steps", "numbers", "seed", "unread")
    }


def pieces(response: Any) -> list[Any]:
    lines = [line for line in response.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def joined(chunks: list[Any], index: int = 0) -> str:
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
    return "".join(delta.get("content", "") for delta in deltas)


def test_it_answers_as_ask_does(server: Process, decoder: Decoder) -> None:
    (episode,) = decoder.sample([EGGS], SamplingParams(400))
    row = as_row(EGGS, reply_to(EGGS, decoder.prompter.decode(episode.ids), episode), None)
    answered = server.ask(EGGS.replace(". ", ".\n")).json()
    (choice,) = answered["choices"]
    assert row_of(choice) == json.loads(json.dumps(row))
    assert choice["message"]["content"] == f"```yaml\n{row['trace']}\n```\n\nThe answer is {row['answer']}."
    assert choice["mlx_trace"]["steps"][-1]["values"].popitem()[1] == row["answer"]
    assert (choice["finish_reason"], answered["model"]) == ("stop", "tiny")
    assert answered["usage"] == {"prompt_tokens": len(episode.prompt_ids), "completion_tokens": len(episode.ids),
                                 "total_tokens": len(episode.prompt_ids) + len(episode.ids)}  # fmt: skip


def test_it_says_where_numbers_stand_and_which_are_used(server: Process) -> None:
    found = server.ask(f"🍎 {EGGS}").json()["choices"][0]["mlx_trace"]
    assert [(found["question"][one["start"] : one["end"]], one["used"]) for one in found["numbers"]] == [
        (number, number not in found["unused"]) for number in ("20", "4")
    ]


def test_the_page_comes_from_here_alone(server: Process) -> None:
    page = server.client.get("/")
    assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    asked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert set(asked) == {"/page.css", "/page.js", "data:,"}
    for path in ("/page.css", "/page.js"):
        file = server.client.get(path)
        assert file.status_code == 200
        assert not re.search(r"https?://|innerHTML|@import|url\(", file.text)


def test_it_votes_as_ask_does(server: Process, decoder: Decoder) -> None:
    row = as_row(EGGS, *poll(decoder, EGGS, SamplingParams(400, VOTING_TEMPERATURE, 6, 3)))
    (choice,) = server.ask(samples=6, seed=3).json()["choices"]
    assert row_of(choice) == json.loads(json.dumps(row))
    assert "of 6 say" in choice["message"]["content"]
    assert choice["mlx_trace"]["seed"] == 3


@pytest.mark.parametrize(
    "body",
    [{}, {"n": 3, "temperature": 1.5, "seed": 2}, {"samples": 3, "seed": 2}, {"stop": ["op: query", "zzz"]},
     {"stop": "\n\n"}, {"stop": "```"}, {"stop": "expert"}],
    ids=str,
)  # fmt: skip
def test_pieces_joined_are_the_whole(server: Process, body: dict[str, Any]) -> None:
    whole = server.ask(**body).json()
    with server.stream(**body, stream_options={"include_usage": True}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        chunks = pieces(response)
    for choice in whole["choices"]:
        content = choice["message"]["content"]
        assert joined(chunks, choice["index"]) == content
        stops = body.get("stop", [])
        assert not any(
            stop in content.removeprefix("```yaml\n") for stop in ([stops] if isinstance(stops, str) else stops)
        )
        (last,) = [
            c for chunk in chunks for c in chunk["choices"] if c["index"] == choice["index"] and c["finish_reason"]
        ]
        assert {key: last[key] for key in ("finish_reason", "mlx_trace")} == {
            key: choice[key] for key in ("finish_reason", "mlx_trace")
        }
    assert [chunk["usage"] for chunk in chunks] == [None] * (len(chunks) - 1) + [whole["usage"]]
    assert chunks[-1]["choices"] == []
    assert len({chunk["id"] for chunk in chunks}) == 1


def test_the_openai_client_understands_it(server: Process) -> None:
    openai = pytest.importorskip("openai", reason="needs the package openai (extra interop)")
    with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["tiny"]
        asked: Any = {"model": "tiny", "messages": [{"role": "user", "content": EGGS}]}
        whole = client.chat.completions.create(**asked, extra_body={"samples": 3}, seed=1)
        assert whole.choices[0].model_extra["mlx_trace"]["samples"] == 3
        whole = client.chat.completions.create(**asked)
        with client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}) as stream:
            chunks = list(stream)
        said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert said == whole.choices[0].message.content
        assert chunks[-1].usage == whole.usage
        with pytest.raises(openai.BadRequestError) as refused:
            client.chat.completions.create(**asked, top_p=0.5)
        assert refused.value.param == "top_p"
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(**asked | {"model": "other"})


def test_fifty_at_once_have_each_their_own_answer(server: Process, decoder: Decoder) -> None:
    questions = [f"I had {20 + index} eggs and sold {2 + index % 7} of them. How many are left?" for index in range(50)]
    expected = [decoder.prompter.decode(episode.ids) for episode in decoder.sample(questions, SamplingParams(400))]
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(server.ask, questions))
    assert [one.json()["choices"][0]["mlx_trace"]["trace"] for one in answers] == expected
    server.await_replies(0)


def test_a_question_without_numbers_is_answered_in_words(server: Process) -> None:
    (choice,) = server.ask("hello").json()["choices"]
    assert choice["message"]["content"] == "There is nothing to compute: no number is stated."
    assert (choice["mlx_trace"]["answer"], choice["finish_reason"]) == (None, "stop")
    with server.stream("hello") as response:
        assert joined(pieces(response)) == choice["message"]["content"]


def test_what_is_not_read_is_said(server: Process) -> None:
    messages = [{"role": "system", "content": "Eggs come in dozens."}, {"role": "user", "content": EGGS}]
    (choice,) = server.client.post("/v1/chat/completions", json={"messages": messages}).json()["choices"]
    assert choice["mlx_trace"]["unread"] == 1
    assert choice["message"]["content"].endswith(
        "(The message before this one was not read: a trace answers one question, by itself.)"
    )


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"not JSON", {}, 400),
        (b'{"messages": \x00}', {}, 400),
        (b'{"messages": [{"role": "user", "content": "4 \\ud800"}]}', {}, 400),
        (b'{"messages": [{"role": "user", "content": "4 \\u0000"}]}', {}, 400),
        (b'{"messages": [], "n": -1}', {}, 400),
        (b'{"model": "other", "messages": [{"role": "user", "content": "4"}]}', {}, 404),
        (b'{"messages": [{"role": "user", "content": "4 and 5"}], "max_tokens": 3}', {}, 400),
        (b'{"messages": [{"role": "user", "content": "' + b"4 " * 4000 + b'"}]}', {}, 400),
        (b" " * 10_000_000, {}, 413),
        (b"{}", {"Content-Type": "text/plain"}, 415),
    ],
    ids=["words", "nul", "surrogate", "escaped-nul", "negative", "model", "short", "long", "huge", "plain"],
)
def test_bad_bodies_have_errors_of_openai_s_form(
    server: Process, content: bytes, headers: dict[str, str], status: int
) -> None:
    sent = {"Content-Type": "application/json"} | headers
    response = server.client.post("/v1/chat/completions", content=content, headers=sent)
    assert response.status_code == status
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert isinstance(error["message"], str)
    assert {"param", "code"} < error.keys()
    assert server.client.get("/health").json() == {"status": "ok", "model": "tiny", "replies": 0}


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/models/other", 404), ("/nowhere", 404), ("/v1/chat/completions", 405)]
)
def test_other_paths_have_errors_of_openai_s_form(server: Process, path: str, status: int) -> None:
    response = server.client.get(path)
    assert (response.status_code, response.json()["error"]["type"]) == (status, "invalid_request_error")


def test_pages_of_other_sites_are_not_let_in(server: Process) -> None:
    for origin, allowed in (("https://a.example", "https://a.example"), ("https://b.example", None)):
        response = server.client.get("/health", headers={"Origin": origin})
        assert response.headers.get("access-control-allow-origin") == allowed


@pytest.mark.parametrize("streams", [True, False])
def test_who_leaves_frees_the_place(server: Process, streams: bool) -> None:
    began = time.monotonic()
    with httpx.Client(base_url=server.client.base_url, timeout=0.5 if not streams else WAIT) as other:
        body = {"messages": [{"role": "user", "content": EGGS}], "n": MANY, "temperature": 1, "stream": streams}
        if streams:
            with other.stream("POST", "/v1/chat/completions", json=body) as response:
                next(response.iter_lines())
        else:
            with pytest.raises(httpx.ReadTimeout):
                other.post("/v1/chat/completions", json=body)
    left = time.monotonic()
    server.await_replies(0)
    assert time.monotonic() - left < max(2.0, 2 * (left - began))
    assert server.ask().status_code == 200


def test_who_comes_when_it_is_full_is_told_to_try_again(server: Process) -> None:
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.ask, n=MANY, temperature=1, max_tokens=60)
        server.await_replies(MANY)
        second = server.ask(n=MANY, temperature=1)
        assert (second.status_code, second.headers["retry-after"]) == (429, "1")
        assert second.json()["error"]["type"] == "rate_limit_error"
        assert server.ask(EGGS, max_tokens=60).status_code == 200, "one reply fits"
        assert len(first.result().json()["choices"]) == MANY


def test_a_signal_lets_what_was_begun_end() -> None:
    with running("--max-sequences", "4", "--served-model-name", "eggs") as server, ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.ask, n=16, temperature=1)
        server.await_replies(16)
        assert server.client.get("/%1b[2J%0aevil").status_code == 404
        server.process.send_signal(signal.SIGTERM)
        answered = first.result()
        code, told = server.end()
    assert (answered.status_code, len(answered.json()["choices"]), answered.json()["model"]) == (200, 16, "eggs")
    assert code == 0
    assert "finishing what was begun" in told
    assert "POST /v1/chat/completions 200" in told
    assert "\x1b" not in told
    assert EGGS not in told


def test_a_second_ctrl_c_ends_at_once() -> None:
    with running("--max-sequences", "1", "-q") as server, ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.ask, n=MANY, temperature=1)
        server.await_replies(MANY)
        server.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert server.process.poll() is None
        began = time.monotonic()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(10) == 130
        assert time.monotonic() - began < 5
        with pytest.raises(httpx.TransportError):
            first.result()


def test_a_port_in_use_is_told_before_a_model_is_loaded(server: Process) -> None:
    port = str(server.client.base_url.port)
    command = [sys.executable, "-m", "mlx_trace", "serve", "--port", port, "--model", "no/such/model"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"mlx-trace: 127.0.0.1, port {port}: it is in use; --port names another\n"
