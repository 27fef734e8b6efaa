"""What goes wrong within a server is told to whoever asked, and to nobody else; it then goes on."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from mlx_trace.config import Prompt
from mlx_trace.config_decoding import Decoding
from mlx_trace.config_serve import Limits
from mlx_trace.decode.decoder import Decoder
from mlx_trace.model.adapter import load_adapter
from mlx_trace.model.base import load_base
from mlx_trace.model.prompts import Prompter
from mlx_trace.resources import adapters_dir
from mlx_trace.serve.app import make_app
from mlx_trace.serve.inquiry import Served
from mlx_trace.serve.worker import Worker

httpx = pytest.importorskip("httpx2")

EGGS = {"messages": [{"role": "user", "content": "I had 20 eggs and sold 4 of them. How many are left?"}]}
LIMITS = Limits(max_sequences=2, max_queue=2)
Ask = Callable[..., Awaitable[Any]]


def load() -> tuple[Decoder, Served]:
    base = load_base("tiny")
    load_adapter(base, adapters_dir() / "tiny")
    decoder = Decoder(base, Prompter(base.tokenizer, Prompt()), Decoding(), LIMITS.max_sequences)
    return decoder, Served("tiny", 400)


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    one = Worker(load, LIMITS)
    one.start()
    one.ready.result(300)
    yield one
    one.stop(10)
    assert not one.is_alive


def run(worker: Worker, talk: Callable[[Ask], Awaitable[None]], limits: Limits = LIMITS) -> None:
    """Let a client talk to the application, in one event loop, until no reply waits."""

    async def session() -> None:
        transport = httpx.ASGITransport(make_app(worker, Served("tiny", 400), limits), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            await talk(lambda **body: client.post("/v1/chat/completions", json=EGGS | body))
        while worker.replies:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(session(), 120))


def test_a_pass_that_fails_takes_its_requests_with_it_and_no_others(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def talk(ask: Ask) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(worker._decoder.engine, "read_and_sample", lambda *_: 1 / 0)
            failed = await ask()
            streamed = await ask(stream=True)
        assert (failed.status_code, failed.json()["error"]["type"]) == (500, "server_error")
        assert '"error"' in streamed.text
        assert "[DONE]" not in streamed.text
        assert "ZeroDivisionError" not in failed.text + streamed.text
        assert (await ask()).json()["choices"][0]["mlx_trace"]["answer"] == "16"

    run(worker, talk)
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_what_takes_too_long_is_given_up(worker: Worker) -> None:
    async def talk(ask: Ask) -> None:
        late = await ask(n=2, temperature=1)
        assert (late.status_code, late.headers["retry-after"]) == (503, "5")
        streamed = await ask(n=2, temperature=1, stream=True)
        assert "not done in time" in streamed.text
        assert "[DONE]" not in streamed.text

    run(worker, talk, replace(LIMITS, timeout=0.001))


def test_replies_beyond_the_queue_are_turned_away_and_one_request_always_fits(worker: Worker) -> None:
    async def talk(ask: Ask) -> None:
        first, second, third = await asyncio.gather(ask(n=3, temperature=1), ask(), ask(n=2, temperature=1))
        assert [one.status_code for one in (first, second, third)] == [200, 200, 429]
        assert len((await ask(n=9, temperature=1)).json()["choices"]) == 9

    run(worker, talk)


def test_too_many_bodies_and_late_ones_are_turned_away(worker: Worker) -> None:
    async def talk(ask: Ask) -> None:
        assert (await ask()).status_code == 429

    run(worker, talk, replace(LIMITS, max_bodies=0))

    async def never() -> None:
        async def pieces() -> Any:
            yield b"{"
            await asyncio.sleep(60)

        transport = httpx.ASGITransport(make_app(worker, Served("tiny", 400), replace(LIMITS, body_timeout=0.1)))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            sent = {"Content-Type": "application/json"}
            late = await client.post("/v1/chat/completions", content=pieces(), headers=sent)
            assert late.status_code == 408

    asyncio.run(never())
