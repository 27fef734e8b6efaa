"""The bundled adapter, fused, in llama.cpp: the same token ids and greedy traces as ours, by type of weights.

    python eval/bench/llama_cpp.py [-n 50] [--json]

Counts over n held-out problems: prompts with the same ids, /completion with our prompt, /v1/chat/completions with the
question alone; traces as ours to the letter, and their answers right or wrong. Needs the package xllamacpp.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from mlx_trace.config import Prompt
from mlx_trace.config_decoding import Decoding
from mlx_trace.decode.decoder import Decoder  # before MLX, whose BLAS our packages choose
from mlx_trace.decode.params import SamplingParams
from mlx_trace.evaluate.suites import suite
from mlx_trace.fuse import fuse
from mlx_trace.language.grade import grade
from mlx_trace.llama_cpp import write_for_llama_cpp
from mlx_trace.model.adapter import load_adapter
from mlx_trace.model.base import load_base
from mlx_trace.model.prompts import CLOSING, Prompter
from mlx_trace.problems.problem import Problem
from mlx_trace.resources import adapters_dir

KINDS = ("f32", "f16", "bf16", "q8_0")
LONGEST = 400


class LlamaCpp:
    """llama.cpp's server, in this process, asked over HTTP."""

    def __init__(self, file: Path) -> None:
        import xllamacpp

        settings = xllamacpp.CommonParams()
        settings.model.path = str(file)
        settings.n_ctx, settings.n_parallel, settings.warmup, settings.verbosity = 1024, 1, False, -1
        settings.use_jinja, settings.port = True, 0
        settings.cpuparams.n_threads = max(1, (os.cpu_count() or 2) // 2)  # more than are free wait for one another
        self.server = xllamacpp.Server(settings)

    def post(self, path: str, **content: Any) -> Any:
        body = json.dumps(content).encode()
        request = Request(self.server.listening_address + path, body, {"Content-Type": "application/json"})
        with urlopen(request) as answer:
            return json.load(answer)

    def ask(self, prompter: Prompter, problem: Problem, reply: str) -> dict[str, bool]:
        """Return what is as ours for one problem, and whether its answer is right."""
        text, asked = prompter.text(problem.question), [{"role": "user", "content": problem.question}]
        ids = self.post("/tokenize", content=text, add_special=True, parse_special=True)["tokens"]
        completed = self.post("/completion", prompt=text, temperature=0, n_predict=LONGEST)["content"]
        chat = self.post("/v1/chat/completions", messages=asked, temperature=0, max_tokens=LONGEST)
        said = chat["choices"][0]["message"]["content"]
        verdict = grade(completed.partition(CLOSING)[0], problem.expected)
        return {"ids": ids == prompter.ids(problem.question), "completion": completed == reply, "chat": said == reply,
                "correct": verdict.kind == "correct"}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=50, metavar="N", help="problems (default 50)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    problems = suite("synthetic", options.n)
    base = load_base("tiny")
    load_adapter(base, adapters_dir() / "tiny")
    prompter = Prompter(base.tokenizer, Prompt())
    decoder = Decoder(base, prompter, Decoding(constraint="none"))
    replies = [
        prompter.decode(one.ids) for one in decoder.sample([p.question for p in problems], SamplingParams(LONGEST))
    ]
    right = sum(grade(reply, p.expected).kind == "correct"
                for reply, p in zip(replies, problems, strict=True))  # fmt: skip
    report: dict[str, Any] = {"n": options.n, "ours": {"correct": right}}
    with tempfile.TemporaryDirectory() as work:
        fuse(base, prompter, Path(work) / "fused")
        for kind in KINDS:
            file = Path(work) / f"{kind}.gguf"
            write_for_llama_cpp(Path(work) / "fused", file, kind, prompter)
            server = LlamaCpp(file)
            counts = [server.ask(prompter, p, reply + CLOSING) for p, reply in zip(problems, replies, strict=True)]
            report[kind] = {key: sum(count[key] for count in counts) for key in counts[0]}
            report[kind]["megabytes"] = round(file.stat().st_size / 1e6, 1)
    if options.json:
        print(json.dumps(report))
        return
    print(f"of {options.n} greedy replies; ours, unconstrained: {right} right")
    for kind in KINDS:
        print(f"{kind:>5}: " + ", ".join(f"{key} {value}" for key, value in report[kind].items()))


if __name__ == "__main__":
    sys.exit(main())
