"""GGUF files, in and out, held against real llama.cpp (pip install xllamacpp).

    python eval/bench/gguf_files.py FILE.gguf [--prompts 20] [--tokens 32] [--json]

Seconds and peak memory of the conversion, in a process and a cache of its own, and of the second start. Ids of problems
and prompts. Of the file itself: how often the likeliest token and the five likeliest are the same. Of the model written
again as F16: greedy continuations token by token against MLX in float32; where they part, by how little: llama.cpp
rounds activations to half precision there, so that tokens that are nearly as likely may change places.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from mlx_trace.model.base import Base, load_base
from mlx_trace.model.gguf.write import write_gguf
from mlx_trace.problems.synthetic.generator import Options, generate_balanced
from mlx_trace.problems.synthetic.schema import load_schemas

import mlx.core as mx  # isort: skip

CONVERT = """
import json, resource, sys, time
from pathlib import Path
from mlx_trace.model.gguf.convert import model_directory
started = time.perf_counter()
folder = model_directory(Path(sys.argv[1]))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
status = Path("/proc/self/status")  # there, unlike above, the process that started this one does not count
if status.exists():
    peak = 1024 * int(status.read_text().partition("VmHWM:")[2].split()[0])
print(json.dumps({"seconds": round(time.perf_counter() - started, 2), "peak_mb": round(peak / 1e6),
                  "folder": str(folder)}))
"""
NEAR = 0.05  # of log-probability: two tokens that are as likely as that may change places


def convert(file: Path, cache: Path) -> dict[str, Any]:
    """Convert a file in a process of its own; return seconds, peak memory in MB, and the folder."""
    done = subprocess.run([sys.executable, "-c", CONVERT, str(file)], capture_output=True, text=True, check=True,
                          env=os.environ | {"MLX_TRACE_CACHE": str(cache)})  # fmt: skip
    return dict(json.loads(done.stdout))


class LlamaCpp:
    """A file in real llama.cpp, spoken to on the loopback interface."""

    def __init__(self, address: str) -> None:
        self.address = address

    def ask(self, path: str, said: dict[str, Any]) -> Any:
        request = urllib.request.Request(f"{self.address}/{path}", json.dumps(said).encode(),
                                         {"Content-Type": "application/json"})  # fmt: skip
        with urllib.request.urlopen(request, timeout=1800) as reply:
            return json.load(reply)

    def complete(self, prompt: Sequence[int], num_tokens: int, num_shown: int = 0) -> Any:
        return self.ask("completion", {"prompt": list(prompt), "n_predict": num_tokens, "temperature": 0.0,
                                       "samplers": ["temperature"], "n_probs": num_shown, "return_tokens": True,
                                       "ignore_eos": True, "cache_prompt": False})  # fmt: skip


@contextmanager
def llama_cpp(file: Path) -> Iterator[LlamaCpp]:
    """Load a file; attention in float32, as far as llama.cpp has it."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(file)
    parameters.n_ctx, parameters.n_parallel, parameters.warmup, parameters.verbosity = 2048, 1, False, 0
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = max(1, (os.cpu_count() or 2) // 2)
    parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    parameters.fit_params = False
    server = xllamacpp.Server(parameters)
    yield LlamaCpp(server.listening_address)
    del server


def logprobs(base: Base, ids: Sequence[int]) -> mx.array:
    """Return log-probabilities (T, V) after every token."""
    logits = base.network(mx.array([list(ids)]))[0].astype(mx.float32)
    return logits - mx.logsumexp(logits, axis=-1, keepdims=True)


def same_ids(base: Base, real: LlamaCpp, texts: Sequence[str]) -> dict[str, int]:
    same = sum(real.ask("tokenize", {"content": text, "add_special": True, "parse_special": True})["tokens"]
               == list(base.tokenizer.encode(text)) for text in texts)  # fmt: skip
    return {"texts": len(texts), "same": same}


def agreement(base: Base, real: LlamaCpp, prompts: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Return how often the likeliest next token is the same, and how many of the five likeliest are, behind prompts."""
    first = shared = compared = 0
    apart = 0.0
    for prompt in prompts:
        shown = real.complete(prompt, 1, 5).get("completion_probabilities")
        if not shown:
            continue
        theirs = {entry["id"]: entry["logprob"] for entry in shown[0]["top_logprobs"]}
        said = logprobs(base, prompt)[-1]
        ours = mx.argsort(-said)[:5].tolist()
        compared += 1
        first += ours[0] == next(iter(theirs))
        shared += len(set(ours) & set(theirs))
        apart = max(apart, *(abs(said[id_].item() - logprob) for id_, logprob in theirs.items()))
    return {"prompts": compared, "likeliest_same": first, "of_five": round(shared / max(1, compared), 2),
            "largest_difference": round(apart, 3)}  # fmt: skip


def greedy(base: Base, real: LlamaCpp, prompts: Sequence[Sequence[int]], num_tokens: int) -> dict[str, Any]:
    """Return how many continuations are the same, and of the others where they part, and by how little."""
    same, partings = 0, []
    for prompt in prompts:
        theirs = real.complete(prompt, num_tokens)["tokens"]
        said = logprobs(base, [*prompt, *theirs])[len(prompt) - 1 : -1]
        said[:, mx.array(sorted(base.tokenizer.eos_token_ids))] = -mx.inf  # continuations go on behind an end
        ours = mx.argmax(said, axis=-1).tolist()
        if ours == theirs:
            same += 1
            continue
        at = next(index for index, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1])
        partings.append({"token": at, "likelier_by": round((said[at, ours[at]] - said[at, theirs[at]]).item(), 4)})
    return {"prompts": len(prompts), "tokens": num_tokens, "same": same, "partings": partings,
            "near_ties": sum(parting["likelier_by"] < NEAR for parting in partings)}  # fmt: skip


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Convert, compare the file itself, write it again as F16, and compare that."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        found["conversion"], found["second_start"] = (convert(options.file, work / "cache") for _ in range(2))
        folder = Path(found["conversion"]["folder"])
        base = load_base(str(folder), dtype="float32")
        problems = generate_balanced(list(load_schemas().values()), options.texts, 11, Options())
        texts = [problem.question for problem in problems]
        asked = [base.tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True)
                 for text in texts[: options.prompts]]  # fmt: skip
        with llama_cpp(options.file) as real:
            found["ids"] = same_ids(base, real, texts)
            found["this_file"] = agreement(base, real, asked)
        started = time.perf_counter()
        write_gguf(folder, work / "f16.gguf", "f16")
        found["writing_f16"] = {"seconds": round(time.perf_counter() - started, 2)}
        half = load_f16(work / "f16.gguf", work / "cache")
        with llama_cpp(work / "f16.gguf") as real:
            found["f16_greedy"] = greedy(half, real, asked, options.tokens)
            found["f16"] = agreement(half, real, asked)
    for entry in ("conversion", "second_start"):
        del found[entry]["folder"]
    return found


def load_f16(file: Path, cache: Path) -> Base:
    return load_base(convert(file, cache)["folder"], dtype="float32")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="a GGUF file, quantised or not")
    parser.add_argument("--prompts", type=int, default=20, help="prompts that are continued (default 20)")
    parser.add_argument("--texts", type=int, default=200, help="texts that are tokenised (default 200)")
    parser.add_argument("--tokens", type=int, default=32, help="tokens of each continuation (default 32)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options)
    if options.json:
        print(json.dumps(found))
        return
    for name, figures in found.items():
        Console().print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
