"""A fused model answers as ours does in tools that know nothing of mlx-trace and are given only the question."""

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from transformers import AutoTokenizer

from mlx_trace.cli.main import main
from mlx_trace.config import Prompt
from mlx_trace.config_decoding import Decoding
from mlx_trace.decode.decoder import Decoder
from mlx_trace.decode.params import SamplingParams
from mlx_trace.evaluate.suites import suite
from mlx_trace.fuse import fuse
from mlx_trace.llama_cpp import write_for_llama_cpp
from mlx_trace.model.adapter import load_adapter
from mlx_trace.model.base import load_base, read_tokenizer
from mlx_trace.model.chat_template import PROBES
from mlx_trace.model.prompts import CLOSING, OPENING, Prompter
from mlx_trace.resources import adapters_dir, tiny_dir
from tests.conftest import write_model
from tests.paths import SHARED

QUESTIONS = [problem.question for problem in (*suite("synthetic", 4), *suite("phrasing", 2))]
ADAPTER = adapters_dir() / "tiny"


@pytest.fixture(scope="module")
def prompter() -> Prompter:
    return Prompter(load_base("tiny").tokenizer, Prompt())


def greedy(questions: list[str]) -> list[str]:
    """Return what `mlx-trace chat --constraint none` replies, with the closing fence that it leaves out."""
    base = load_base("tiny")
    load_adapter(base, ADAPTER)
    prompter = Prompter(base.tokenizer, Prompt())
    episodes = Decoder(base, prompter, Decoding(constraint="none"), max_sequences=8).sample(
        questions, SamplingParams(400)
    )
    return [prompter.decode(episode.ids) + CLOSING for episode in episodes]


@pytest.fixture(scope="module")
def replies() -> list[str]:
    return greedy(QUESTIONS)


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base with its bundled adapter, fused, and as a GGUF file beside it."""
    folder = tmp_path_factory.mktemp("fused") / "model"
    assert (
        main(["fuse", "--save-path", str(folder), "--gguf", str(folder.parent / "f32.gguf"), "--gguf-type", "f32"]) == 0
    )
    return folder


def test_mlx_lm_generate(
    fused: Path, replies: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = importlib.import_module("mlx_lm.generate")  # the package has a function of that name
    for question, reply in zip(QUESTIONS, replies, strict=True):
        words = ["--model", str(fused), "--prompt", question, "--max-tokens", "400", "--verbose", "False"]
        monkeypatch.setattr(sys, "argv", ["mlx_lm.generate", *words])
        capsys.readouterr()
        command.main()
        assert capsys.readouterr().out == reply + "\n"


@contextlib.contextmanager
def server(*arguments: str) -> Iterator[str]:
    """Run mlx_lm.server; yield its address once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlx_lm", "server", *arguments, "--port", str(port)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | {"HF_HUB_OFFLINE": "1"}
    )
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_mlx_lm_server_through_the_openai_client(fused: Path, replies: list[str]) -> None:
    openai = pytest.importorskip("openai", reason="needs the package openai (extra interop)")
    with server("--model", str(fused)) as address, openai.OpenAI(base_url=address, api_key="none") as client:
        for question, reply in zip(QUESTIONS, replies, strict=True):
            asked: Any = {"model": "default_model", "messages": [{"role": "user", "content": question}]}
            choice = client.chat.completions.create(**asked).choices[0]
            assert (choice.message.content, choice.finish_reason) == (reply, "stop")
            with client.chat.completions.create(**asked, stream=True) as stream:
                assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == reply


def test_mlx_lm_server_with_an_adapter_and_the_template_beside_it(replies: list[str]) -> None:
    openai = pytest.importorskip("openai", reason="needs the package openai (extra interop)")
    template = (ADAPTER / "chat_template.jinja").read_text(encoding="utf-8")
    flags = ["--model", str(tiny_dir()), "--adapter-path", str(ADAPTER), "--chat-template", template]
    with server(*flags) as address, openai.OpenAI(base_url=address, api_key="none") as client:
        messages: Any = [{"role": "user", "content": QUESTIONS[0]}]
        choice = client.chat.completions.create(model="default_model", messages=messages).choices[0]
        assert choice.message.content == replies[0]


def test_transformers_tokenizes_a_question_as_training_did(fused: Path, prompter: Prompter) -> None:
    tokenizer = AutoTokenizer.from_pretrained(fused)
    for question in [*QUESTIONS, "  ½ — «quoted» {{ x }} {% if %} ```yaml\n", "苹果 🍎"]:
        asked = [{"role": "user", "content": question}]
        ids = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=True)["input_ids"]
        assert ids == prompter.ids(question)


STOCK_TRANSFORMERS = """
import json, sys
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer, model = AutoTokenizer.from_pretrained(sys.argv[1]), AutoModelForCausalLM.from_pretrained(sys.argv[1])
for question in json.load(sys.stdin):
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    ids = model.generate(**asked)[0, asked["input_ids"].shape[1] :]
    print(json.dumps(tokenizer.decode(ids, skip_special_tokens=True)))
"""


def test_transformers_generates_whole_traces_with_no_settings(fused: Path, replies: list[str]) -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("needs the package torch (extra interop)")
    command = [sys.executable, "-c", STOCK_TRANSFORMERS, str(fused)]  # in a process without MLX, as its users have it
    done = subprocess.run(command, input=json.dumps(QUESTIONS), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == replies


class LlamaCpp:
    """Real llama.cpp's server, asked over HTTP."""

    def __init__(self, file: Path) -> None:
        llama_cpp = pytest.importorskip("xllamacpp", reason="needs the package xllamacpp (extra interop)")
        settings = llama_cpp.CommonParams()
        settings.model.path = str(file)
        settings.n_ctx, settings.n_parallel, settings.warmup, settings.verbosity = 1024, 1, False, -1
        settings.use_jinja, settings.port = True, 0
        settings.cpuparams.n_threads = 1
        self.server = llama_cpp.Server(settings)

    def post(self, path: str, **content: Any) -> Any:
        request = Request(
            self.server.listening_address + path, json.dumps(content).encode(), {"Content-Type": "application/json"}
        )
        with urlopen(request, timeout=120) as answer:
            return json.load(answer)


def test_llama_cpp_has_our_ids_and_our_traces(fused: Path, prompter: Prompter) -> None:
    llama_cpp = LlamaCpp(fused.parent / "f32.gguf")
    questions = [problem.question for problem in suite("synthetic", 50)]
    for question, reply in zip(questions, greedy(questions), strict=True):
        text, asked = prompter.text(question), [{"role": "user", "content": question}]
        ids = llama_cpp.post("/tokenize", content=text, add_special=True, parse_special=True)["tokens"]
        assert ids == prompter.ids(question)
        assert llama_cpp.post("/apply-template", messages=asked)["prompt"] == text
        assert llama_cpp.post("/completion", prompt=text, temperature=0, n_predict=400)["content"] == reply
        choice = llama_cpp.post("/v1/chat/completions", messages=asked, temperature=0, max_tokens=400)["choices"][0]
        assert (choice["message"]["content"], choice["finish_reason"]) == (reply, "stop")


def test_llama_cpp_runs_a_conversation_as_transformers_does(fused: Path) -> None:
    llama_cpp, tokenizer = LlamaCpp(fused.parent / "f32.gguf"), AutoTokenizer.from_pretrained(fused)
    said = [
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "expert: arithmetic\n```"},
        {"role": "user", "content": "Two?"},
    ]
    for messages in (said, [{"role": "system", "content": "be 'brief'\n\"now\""}, *said]):
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        assert text.count(OPENING) == 2
        assert llama_cpp.post("/apply-template", messages=messages)["prompt"] == text


@pytest.mark.parametrize(
    ("name", "template"), [("tinyllama", "chat"), ("tinyllama", "raw"), ("llama32", "chat"), ("smollm2", "chat")]
)
def test_real_tokenizers_are_read_as_training_reads_them(tmp_path: Path, name: str, template: Any) -> None:
    if not SHARED.is_dir():
        pytest.skip(f"needs {name}'s tokenizer in ../shared/tokenizers")
    tokenizer = read_tokenizer(SHARED / "tokenizers" / name, {})
    base = load_base(str(write_model(tmp_path / "base", tokenizer, hidden_size=32, intermediate_size=32)))
    prompter = Prompter(base.tokenizer, Prompt(template=template))
    fuse(base, prompter, tmp_path / "fused", n=0)  # it asks AutoTokenizer for the same ids
    write_for_llama_cpp(tmp_path / "fused", tmp_path / "model.gguf", "f32", prompter)
    llama_cpp = LlamaCpp(tmp_path / "model.gguf")
    for question in [*QUESTIONS, *PROBES]:
        ids, asked = prompter.ids(question), [{"role": "user", "content": question}]
        text = llama_cpp.post("/apply-template", messages=asked)["prompt"]
        assert llama_cpp.post("/tokenize", content=text, add_special=True, parse_special=True)["tokens"] == ids
        usage = llama_cpp.post("/v1/chat/completions", messages=asked, max_tokens=1)["usage"]
        assert usage["prompt_tokens"] == len(ids)
