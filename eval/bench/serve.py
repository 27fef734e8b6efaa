"""The server under load: many clients at once, for a time; then its speed beside mlx_lm.server's.

    python eval/bench/serve.py [--clients 200] [--seconds 60] [--requests 48] [--at-once 8] [--runs 5] [--json]

The bundled adapter. Of the clients' requests one in ten leaves in the middle of a streamed reply and one in five
streams it to the end; every reply is compared with what the model says alone, in this process. Open files and memory
are the server's, once all clients have been there and after they have gone. For speed the adapter is fused, and both
servers are asked the same questions, greedily, by turns after one of each to warm up: ours as it is, without rules, and
without a constraint, as mlx_lm.server is. Seconds are medians, ratios those of neighbouring runs; replies differ in
length, so that tokens are told.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx2

import mlx_trace
from mlx_trace.api.model import Model
from mlx_trace.evaluate.suites import suite
from mlx_trace.fuse import fuse

MAX_TOKENS = 400
WAIT = 300.0  # seconds for a reply, a server's start, its end
PEER = "from mlx_trace.blas import load_openblas; load_openblas(); from mlx_lm.server import main; main()"
OURS = {"mlx-trace serve": (), "… --rules off": ("--rules", "off"), "… --constraint none": ("--constraint", "none")}
THEIRS = "mlx_lm.server"


class Server:
    """A server's process, what it holds, and where it is asked."""

    def __init__(self, command: list[str], port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + WAIT
        while True:
            try:
                httpx2.get(f"{self.url}/health", timeout=WAIT)
                return
            except httpx2.TransportError:
                if self.process.poll() is not None or time.monotonic() > until:
                    sys.exit(f"{' '.join(command)} did not start")
                time.sleep(0.2)

    def files(self) -> int | None:
        """Return how many files and sockets it holds open, None where /proc does not say."""
        folder = Path("/proc", str(self.process.pid), "fd")
        return len(list(folder.iterdir())) if folder.exists() else None

    def megabytes(self) -> float:
        """Return the memory that it has resident, in MB."""
        printed = subprocess.run(["ps", "-o", "rss=", "-p", str(self.process.pid)], capture_output=True, check=True)
        return int(printed.stdout) * 1024 / 1e6

    def waits(self) -> int:
        """Return how many replies it writes, or has waiting."""
        return int(httpx2.get(f"{self.url}/health", timeout=WAIT).json()["replies"])


@contextmanager
def started(*command: str) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server([sys.executable, *command, "--port", str(port)], port)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()


def request(question: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}], "max_tokens": MAX_TOKENS, "temperature": 0} | more


async def stream(client: httpx2.AsyncClient, question: str, leaves: bool) -> str | None:
    """Return a streamed reply, None if the client left after its first pieces."""
    content = ""
    async with client.stream("POST", "/v1/chat/completions", json=request(question, stream=True)) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                content += "".join(one["delta"].get("content", "") for one in json.loads(line[6:])["choices"])
                if leaves and content:
                    return None
    return content


async def whole(client: httpx2.AsyncClient, question: str) -> tuple[str, int]:
    """Return a reply, and how many tokens it has."""
    response = await client.post("/v1/chat/completions", json=request(question))
    answered = response.raise_for_status().json()
    return str(answered["choices"][0]["message"]["content"]), int(answered["usage"]["completion_tokens"])


async def visit(url: str, seed: int, until: float, expected: dict[str, str], counts: Counter[str]) -> None:
    """Ask one question after another until the time is over, and count what comes of it."""
    draw = random.Random(seed)
    questions = list(expected)
    async with httpx2.AsyncClient(base_url=url, timeout=WAIT) as client:
        while time.monotonic() < until:
            question, kind = draw.choice(questions), draw.random()
            try:
                if kind < 0.3:
                    content = await stream(client, question, leaves=kind < 0.1)
                else:
                    content, _ = await whole(client, question)
            except httpx2.HTTPError as fault:
                counts["lost"] += 1
                counts[f"lost: {type(fault).__name__}"] += 1
                continue
            if content is None:
                counts["left"] += 1
            else:
                counts["replies"] += 1
                counts["wrong"] += content != expected[question]


async def crowd(url: str, clients: int, seconds: float, expected: dict[str, str]) -> Counter[str]:
    counts: Counter[str] = Counter(replies=0, wrong=0, left=0, lost=0)
    until = time.monotonic() + seconds
    await asyncio.gather(*(visit(url, seed, until, expected, counts) for seed in range(clients)))
    return counts


def said(server: Server, model: Model, question: str) -> str:
    """Return what the server says to a question alone.

    Raises:
        SystemExit: It does not say what the model says in this process.
    """
    answered = httpx2.post(f"{server.url}/v1/chat/completions", json=request(question), timeout=WAIT)
    (choice,) = answered.raise_for_status().json()["choices"]
    alone, held = model.ask(question), choice["mlx_trace"]
    if (held["trace"], held["answer"]) != (alone.trace, None if alone.answer is None else str(alone.answer)):
        sys.exit(f"{question}: the server says {held['answer']}, and the model {alone.answer}")
    return str(choice["message"]["content"])


def under_load(model: Model, questions: list[str], clients: int, seconds: float) -> dict[str, Any]:
    """Return what came of so many clients, and what the server held before and after.

    Raises:
        SystemExit: The server does not start.
    """
    with started(
        "-m", "mlx_trace", "serve", "-q", "--max-tokens", str(MAX_TOKENS), "--max-queue", str(clients)
    ) as server:
        expected = {question: said(server, model, question) for question in questions}
        asyncio.run(crowd(server.url, clients, seconds / 4, expected))
        before = server.files(), server.megabytes()
        began = time.monotonic()
        counts = asyncio.run(crowd(server.url, clients, seconds, expected))
        took = time.monotonic() - began
        while server.waits():
            time.sleep(0.1)
        after = server.files(), server.megabytes()
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(WAIT)
    return {
        "clients": clients, "seconds": round(took, 1), **counts,
        "replies_per_second": round(counts["replies"] / took, 1),
        "files": [before[0], after[0]], "megabytes": [round(before[1], 1), round(after[1], 1)], "exit_code": code,
    }  # fmt: skip


async def all_of(url: str, questions: list[str], at_once: int) -> int:
    """Ask all questions; return how many tokens were written."""
    turns = asyncio.Semaphore(at_once)
    async with httpx2.AsyncClient(base_url=url, timeout=WAIT) as client:

        async def one(question: str) -> int:
            async with turns:
                return (await whole(client, question))[1]

        return sum(await asyncio.gather(*(one(question) for question in questions)))


def speeds(questions: list[str], at_once: int, runs: int) -> dict[str, Any]:
    """Return the seconds that each server takes for all questions, and how many times as long the peer does."""
    took: dict[str, list[float]] = {name: [] for name in (*OURS, THEIRS)}
    tokens: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        fused = str(Path(folder) / "fused")
        model = mlx_trace.load("tiny")
        fuse(model.base, model.prompter, Path(fused), n=0)
        served = ("-m", "mlx_trace", "serve", "-q", "--model", fused, "--max-tokens", str(MAX_TOKENS))
        servers = {name: stack.enter_context(started(*served, *flags)) for name, flags in OURS.items()}
        servers[THEIRS] = stack.enter_context(started("-c", PEER, "--model", fused))
        for _ in range(runs + 1):
            for name, server in servers.items():
                began = time.perf_counter()
                tokens[name] = asyncio.run(all_of(server.url, questions, at_once))
                took[name].append(time.perf_counter() - began)
    found: dict[str, Any] = {}
    for name, times in took.items():
        ratio = statistics.median(theirs / mine for theirs, mine in zip(took[THEIRS][1:], times[1:], strict=True))
        median = statistics.median(times[1:])
        found[name] = {"seconds": round(median, 2), "tokens": tokens[name], "times_as_fast": round(ratio, 2)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=200, metavar="N", help="clients at once (default 200)")
    parser.add_argument("--seconds", type=float, default=60, metavar="S", help="how long they ask (default 60)")
    parser.add_argument("--requests", type=int, default=48, metavar="N", help="requests of a measured run (default 48)")
    parser.add_argument("--at-once", type=int, default=8, metavar="N", help="of them at once (default 8)")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="measured runs of each server (default 5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    everyday = [problem.question for problem in suite("everyday")]
    mixed = [problem.question for problem in suite("synthetic", options.requests)]
    load = under_load(mlx_trace.load("tiny"), everyday, options.clients, options.seconds)
    speed = speeds(mixed, options.at_once, options.runs)
    if options.json:
        print(json.dumps({"load": load, "speed": speed}))
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, MLX {version('mlx')}, mlx-lm {version('mlx-lm')}")
    for name, value in load.items():
        print(f"{name:>20}  {value}")
    print(f"\n{len(mixed)} requests, {options.at_once} at once, medians of {options.runs}")
    for name, one in speed.items():
        print(f"{name:>20}  {one['seconds']:.2f} s, {one['tokens']:,} tokens; {one['times_as_fast']:.2f} times as fast")


if __name__ == "__main__":
    main()
