"""Rollouts a second beside mlx_lm.batch_generate: one process, one network, the same prompts, stops and traces.

    python eval/bench/decode.py [--model M] [--adapter-path RUN] [--replay] [--cpu-seconds] [--json] [--runs 5]

Ratios above 1 mean that mlx-trace is faster: medians of pairs of neighbouring runs, which take turns, after one of each
to warm up. An adapter is merged into the weights, for both. Distinct prompts are answered greedily; groups, as in
training, are traces sampled at temperature 1, which both engines replay. With random weights everything is replayed; on
a CPU only in groups, at batch 8.
"""

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

from mlx_trace.decode import engine as decode  # before MLX, whose BLAS our packages choose
from mlx_trace.decode.params import SamplingParams

# isort: split
import mlx.core as mx
import mlx_lm
from mlx_lm.generate import GenerationBatch
from mlx_lm.models import llama
from replay import Script, Scripted, replayed_draws, scripts_of
from rich.console import Console
from rich.table import Table

from mlx_trace.blas import suit_threads
from mlx_trace.config import Prompt
from mlx_trace.decode.cache import RaggedCache
from mlx_trace.decode.episode import Request
from mlx_trace.decode.grammar.vocabulary import Vocabulary, vocabulary_of
from mlx_trace.errors import UserError
from mlx_trace.evaluate.suites import suite
from mlx_trace.fuse import fuse
from mlx_trace.model.adapter import load_adapter
from mlx_trace.model.base import TINY, Base, load_base, read_tokenizer
from mlx_trace.model.prompts import Prompter
from mlx_trace.resources import adapters_dir

RANDOM = "llama-3.2-1b-4l"
TOKENIZER = Path(__file__).parents[2] / "../shared/tokenizers/llama32"
HEADS = {"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "rope_theta": 500000.0}
SHAPE = {"model_type": "llama", "hidden_size": 2048, "num_hidden_layers": 4, "intermediate_size": 8192} | HEADS
SHAPE |= {"vocab_size": 128256, "rms_norm_eps": 1e-5, "tie_word_embeddings": True}
MAX_TOKENS = 300
SAMPLES = 4  # of each prompt, in groups
OURS = {"constrained": 3, "unconstrained": 1}  # how many times mlx-lm's rate is wanted
Ids = list[int]


@dataclass
class Case:
    """A prompt, and the replies that each engine must give, one a sample."""

    request: Request
    replies: list[Script]


@dataclass
class Bench:
    """What the runs share."""

    base: Base
    prompter: Prompter
    vocabulary: Vocabulary
    is_replay: bool  # even where replies are greedy
    cases: dict[int, list[Case]] = field(default_factory=dict)  # by the number of samples
    headrooms: dict[int, int | None] = field(default_factory=dict)  # as the engine probed, by batch size
    clock: Callable[[], float] = time.perf_counter

    def whole(self, ids: Ids) -> Ids:
        """Return a reply as mlx-lm gives it: without the token that stopped it."""
        return ids[:-1] if ids and ids[-1] in self.prompter.stop_ids else ids


@dataclass
class Run:
    """One run: each rollout's ids without the stop token, and what it took."""

    replies: list[Ids]
    passes: int
    tokens: dict[str, int]
    automaton_seconds: float = 0.0
    seconds: float = 0.0
    peak: int = 0  # bytes


Compared = dict[int, dict[str, list[Run]]]  # by batch size and name


# --- the two engines -------------------------------------------------------------------------------------------


def run(bench: Bench, name: str, batch: int, cases: Sequence[Case], is_replay: bool) -> Run:
    """Decode the samples of each case by mlx-lm, or by ours in one of its ways, from an empty memory cache."""
    gc.collect()
    mx.clear_cache()
    mx.reset_peak_memory()
    began = bench.clock()
    done = (run_theirs if name == "mlx_lm" else run_ours)(bench, name == "constrained", batch, cases, is_replay)
    done.seconds, done.peak = bench.clock() - began, mx.get_peak_memory()
    return done


def run_ours(bench: Bench, is_constrained: bool, batch: int, cases: Sequence[Case], is_replay: bool) -> Run:
    """Decode with a fresh engine: the prefix is read again, as after every update."""
    vocabulary, prompter = bench.vocabulary if is_constrained else None, bench.prompter
    engine = decode.Engine(bench.base.network, prompter.stop_ids, vocabulary, prompter.prefix, "auto", batch)
    engine.headroom = bench.headrooms.get(batch)
    scripts = [one.drawn if is_constrained else one.wanted for case in cases for one in case.replies]
    with replayed_draws(scripts) if is_replay else nullcontext():
        episodes = engine.sample([case.request for case in cases], SamplingParams(MAX_TOKENS, n=len(cases[0].replies)))
    bench.headrooms[batch] = engine.headroom
    sampled, written = (sum(map(sum, (e.sampled for e in episodes))), sum(len(e.ids) for e in episodes))
    tokens = {"sampled": sampled, "forced": written - sampled, "read": engine.tokens_read}
    replies = [bench.whole(episode.ids) for episode in episodes]
    return Run(replies, engine.passes, tokens, engine.automaton_seconds)


def run_theirs(bench: Bench, _: bool, batch: int, cases: Sequence[Case], is_replay: bool) -> Run:
    """Decode with mlx-lm, every prompt as often as samples are wanted."""
    prompts = [list(case.request.ids) for case in cases for _ in case.replies]
    sampler = Scripted([one.wanted for case in cases for one in case.replies]) if is_replay else None
    with patch.object(GenerationBatch, "_step", sampler.step) if sampler else nullcontext():
        response = mlx_lm.batch_generate(
            bench.base.network, bench.base.tokenizer, prompts, sampler=sampler, max_tokens=MAX_TOKENS,
            completion_batch_size=batch, prefill_batch_size=batch, return_token_ids=True,
        )  # fmt: skip
    tokens = {"sampled": response.stats.generation_tokens, "forced": 0, "read": response.stats.generation_tokens}
    return Run(response.token_ids or [], response.stats.generation_steps, tokens)


# --- what is compared ------------------------------------------------------------------------------------------


def choose_cases(bench: Bench, num_prompts: int) -> None:
    """Keep prompts whose sampled traces the automaton accepts; alone, those that have one greedy reply in all ways."""
    problems = suite("synthetic", num_prompts)
    sampled = scripts_of(bench.base, bench.prompter, problems, SAMPLES, MAX_TOKENS)
    for num_samples in (SAMPLES, 1):  # a sample is the same, however many there are
        bench.cases[num_samples] = [Case(request, scripts[:num_samples]) for _, request, scripts in sampled]
    if not bench.is_replay:
        ways = [run(bench, name, 32, bench.cases[1], False).replies for name in ("mlx_lm", *OURS)]
        bench.cases[1] = [Case(case.request, [Script(a, [])])
                          for case, a, b, c in zip(bench.cases[1], *ways, strict=True) if a == b == c]  # fmt: skip
    counts = " and ".join(f"{len(cases)} prompts, {n} a prompt" for n, cases in bench.cases.items())
    print(f"of {len(problems)}: {counts}", file=sys.stderr)
    if not all(bench.cases.values()):
        raise UserError("too few prompts to compare; use --replay, or another model")


def compare(bench: Bench, batch: int, num_rollouts: int, num_samples: int, num_runs: int) -> dict[str, list[Run]]:
    """Return the runs of the three, which take turns, without the first of each."""
    cases = bench.cases[num_samples][: num_rollouts // num_samples]
    wanted = [bench.whole(one.wanted) for case in cases for one in case.replies]
    runs: dict[str, list[Run]] = {"constrained": [], "mlx_lm": [], "unconstrained": []}
    for _ in range(num_runs + 1):
        for name, found in runs.items():
            found.append(run(bench, name, batch, cases, bench.is_replay or num_samples > 1))
            if wrong := sum(a != b for a, b in zip(found[-1].replies, wanted, strict=True)):
                raise SystemExit(f"{name}, batch {batch}: {wrong} of {len(wanted)} traces differ; try --replay")
    return {name: found[1:] for name, found in runs.items()}


def prefill_ratio(bench: Bench, num_pairs: int = 15) -> float:
    """Return how much longer it takes until 8 rows of a prompt are ready than 1, all of it read each time."""
    prompt = bench.cases[1][0].request.ids[:-1]
    engine = decode.Engine(bench.base.network, bench.prompter.stop_ids)

    def seconds(num_rows: int) -> float:
        began = bench.clock()
        rows = RaggedCache(bench.base.num_layers, num_rows)
        rows.fill(range(num_rows), engine.prompt_cache([prompt])[0], [0] * num_rows)
        rows.evaluate()
        return bench.clock() - began

    return statistics.median([seconds(8) / seconds(1) for _ in range(num_pairs + 1)][1:])


# --- what is reported ------------------------------------------------------------------------------------------


def pairs(runs: dict[str, list[Run]], name: str) -> list[float]:
    """Return how many times faster we were, in each pair."""
    return [theirs.seconds / ours.seconds for theirs, ours in zip(runs["mlx_lm"], runs[name], strict=True)]


def report(bench: Bench, grouped: Compared, distinct: Compared) -> dict[str, Any]:
    """Return everything measured, as --json prints it."""

    def table(value: Callable[[dict[str, list[Run]], str], Any], compared: Compared, *more: str) -> dict[str, Any]:
        return {name: {str(batch): value(compared[batch], name) for batch in compared} for name in (*OURS, *more)}

    def speedup(runs: dict[str, list[Run]], name: str) -> float:
        return round(statistics.median(pairs(runs, name)), 2)

    def rate(runs: dict[str, list[Run]], name: str) -> float:
        return round(statistics.median(len(one.replies) / one.seconds for one in runs[name]), 2)

    shares = [[one.automaton_seconds / one.seconds for one in runs["constrained"]] for runs in grouped.values()]
    largest = grouped[max(grouped)]
    return table(speedup, grouped) | {
        "distinct": table(speedup, distinct),
        "automaton_share": round(max(map(statistics.median, shares)), 4),
        "prefill_8_of_1": round(prefill_ratio(bench), 2),
        "peak_memory": {
            "mlx_trace": max(one.peak for one in largest["constrained"]),
            "mlx_lm": max(one.peak for one in largest["mlx_lm"]),
        },
        "rollouts_per_second": table(rate, grouped, "mlx_lm"),
        "passes": table(lambda runs, name: runs[name][-1].passes, grouped, "mlx_lm"),
        "tokens": table(lambda runs, name: runs[name][-1].tokens, grouped, "mlx_lm"),
        "rollouts": {str(batch): len(runs["mlx_lm"][-1].replies) for batch, runs in grouped.items()},
        "machine": machine(),
    }


def machine() -> dict[str, Any]:
    info = mx.device_info() if hasattr(mx, "device_info") else {}
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    device = f"{mx.default_device()} {info.get('device_name', '')}".strip()
    versions = {name: version(name) for name in ("mlx", "mlx-lm")} | {"python": platform.python_version()}
    found = {"platform": platform.platform(), "cores": os.cpu_count(), "load": load, "device": device}
    return found | versions | {"date": date.today().isoformat()}


def print_report(found: dict[str, Any], compared: dict[str, Compared], vocabulary_size: int) -> None:
    """Print the figures beside what decoding.md wants of them."""
    table = Table("measured", "found", "all pairs", "target", "met", title="mlx-trace beside mlx-lm")

    def add(name: str, value: float, spread: str, target: str, is_met: bool) -> None:
        table.add_row(
            name, f"{value:.1%}" if "%" in target else f"{value:.2f}×", spread, target, "yes" if is_met else "NO"
        )

    for (name, least), (kind, sizes) in product(OURS.items(), compared.items()):
        for batch, runs in sizes.items():
            ratios = sorted(pairs(runs, name))
            middle = statistics.median(ratios)
            spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
            add(f"{name}, batch {batch}, {kind}", middle, spread, f"≥ {least}×", middle >= least)
    most = 0.03 if vocabulary_size > 100_000 else 0.10
    share, prefill = found["automaton_share"], found["prefill_8_of_1"]
    add("automaton's share of the time", share, "", f"< {most:.0%}", share < most)
    add("time to 8 rows of a prompt, to 1", prefill, "", "< 1.3×", prefill < 1.3)
    console = Console()
    console.print(table)
    for key in ("rollouts_per_second", "rollouts", "passes", "tokens", "peak_memory", "machine"):
        console.print(f"{key}: {found.get(key)}", highlight=False)


# --- the models ------------------------------------------------------------------------------------------------


def is_cpu() -> bool:
    return bool(mx.default_device().type == mx.DeviceType.cpu)


def random_llama(tokenizer: Path) -> Base:
    """Return Llama-3.2-1B's shape, cut to 4 layers, with random weights: fp32 on a CPU, else bf16."""
    if not (tokenizer / "tokenizer.json").is_file():
        raise UserError(f"--tokenizer: {tokenizer}: no tokenizer.json; name a directory with Llama 3.2's tokenizer")
    mx.random.seed(0)
    network = llama.Model(llama.ModelArgs.from_dict(SHAPE))
    network.set_dtype(mx.float32 if is_cpu() else mx.bfloat16)
    mx.eval(network.eval().parameters())
    suit_threads(network.args.hidden_size)
    wrapped = read_tokenizer(tokenizer, {"eos_token_id": [128001, 128008, 128009]})
    return Base(RANDOM, tokenizer, network, wrapped, SHAPE)


def merged(model: str, adapter: Path, folder: Path) -> Path:
    """Write a model with an adapter merged into its weights to a new folder."""
    base = load_base(model)
    load_adapter(base, adapter)
    fuse(base, Prompter(base.tokenizer, Prompt()), folder)
    return folder


def prepare(options: argparse.Namespace, folder: Path) -> Bench:
    """Load the model, and settle what both engines are to write."""
    adapter = options.adapter_path or (adapters_dir() / TINY if options.model == TINY else None)
    if options.model == RANDOM:
        base = random_llama(options.tokenizer)
    else:
        base = load_base(str(merged(options.model, adapter, folder)) if adapter else options.model)
    prompter = Prompter(base.tokenizer, Prompt())
    base.tokenizer.eos_token_ids = prompter.stop_ids  # mlx-lm stops where we do
    bench = Bench(base, prompter, vocabulary_of(base.tokenizer), options.replay or options.model == RANDOM)
    if options.cpu_seconds:
        bench.clock = time.process_time
    choose_cases(bench, options.prompts)
    return bench


def measure(bench: Bench, options: argparse.Namespace) -> None:
    """Run everything, and print what was found."""
    few = options.model == RANDOM and is_cpu()  # or it would take an hour
    kinds = {"in groups": SAMPLES} | ({} if few else {"distinct": 1})
    batches = options.batches or ([8] if few else [8, 32])
    sizes = {batch: options.rollouts or batch * (1 if few else 4 if batch < 32 else 2) for batch in batches}
    compared = {
        kind: {batch: compare(bench, batch, size, num_samples, options.runs) for batch, size in sizes.items()}
        for kind, num_samples in kinds.items()
    }
    found = report(bench, compared["in groups"], compared.get("distinct", {}))
    if options.json:
        print(json.dumps(found))
    else:
        print_report(found, compared, bench.vocabulary.size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=TINY, help=f"tiny (the default), a directory, or {RANDOM}: random weights")
    parser.add_argument("--adapter-path", type=Path, help="an adapter (default with tiny: the bundled one)")
    parser.add_argument("--tokenizer", type=Path, default=TOKENIZER, help=f"the tokenizer of {RANDOM}")
    parser.add_argument(
        "--replay", action="store_true", help="replay sampled traces everywhere, whatever the weights say"
    )
    parser.add_argument("--prompts", type=int, default=80, help="prompts to choose from (default 80)")
    parser.add_argument("--batches", type=int, nargs="+", help="batch sizes (default 8 32)")
    parser.add_argument("--rollouts", type=int, help="rollouts a run (default 32 at batch 8, 64 at 32)")
    parser.add_argument("--runs", type=int, default=5, help="pairs to take the median of (default 5)")
    parser.add_argument(
        "--cpu-seconds", action="store_true", help="count this process's CPU seconds: for a machine that others use"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            measure(prepare(options, Path(folder) / "merged"), options)
    except UserError as error:
        raise SystemExit("\n".join(error.lines())) from None


if __name__ == "__main__":
    main()
