"""Does reinforcement help? One SFT adapter, taken on by each algorithm at one cost, three seeds each.

    python eval/bench/algorithms.py --adapter-path SFT-RUN --rows GSM8K-train.jsonl --work DIR [--report FILE.md]

Compared twice: at equal tokens, those sampled and those learnt from together (what the constraint writes by itself is
not sampled), and at equal seconds of training. Every adapter answers the same held-out problems, greedily and
constrained: new numbers, new wording, and the wordings of the rows that no training takes. Against SFT continued (and
against no further training), differences are paired by problem, and the seed is the cluster: a t interval over the
seeds' mean differences. What is done is kept in DIR, so that a stopped study goes on.
"""

import argparse
import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlx_trace.config import Config
from mlx_trace.config_file import load_config
from mlx_trace.evaluate.evaluate import evaluate
from mlx_trace.evaluate.suites import suite
from mlx_trace.model.adapter import load_adapter
from mlx_trace.model.base import load_base
from mlx_trace.model.prompts import Prompter
from mlx_trace.problems.compile.compiler import Compiled, compile_file
from mlx_trace.problems.gsm8k import is_held_out
from mlx_trace.problems.problem import Problem
from mlx_trace.resources import configs_dir
from mlx_trace.train.run import plan

ALGORITHMS = ("sft", "reinforce", "rloo", "grpo", "expert_iteration")
START = "no further training"
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571}  # two-sided 95% quantiles of Student's t, by degrees
SEED_APART = 7_000  # the study's problems are drawn with seeds that no configuration counts up to
Right = dict[str, list[bool]]  # of each set, which problems were solved
Budget = tuple[str, int]  # "tokens" or "seconds", and how many


def problem_sets(rows: Path | None, n: int) -> dict[str, list[Problem]]:
    """Return the problems that every adapter answers."""
    found = {name: suite(name, n) for name in ("synthetic", "phrasing")}
    if rows is not None:
        compiled = (one.problem for one in compile_file(rows) if isinstance(one, Compiled))
        found["GSM-8K, held out"] = [problem for problem in compiled if is_held_out(problem)][: n // 2]
    return found


def configure(algorithm: str, seed: int, kind: str, options: argparse.Namespace) -> Config:
    """Return a run that goes on from the SFT adapter: on new problems, the same for every algorithm of a seed."""
    changes: dict[str, Any] = {
        "adapter_path": str(options.work / f"{algorithm}-{seed}-{kind}"),
        "resume_adapter_file": str(options.adapter_path),
        "seed": SEED_APART + seed, "data": [{"source": "synthetic", "n": options.problems}], "contamination": [],
        "warmup": 0,
    }  # fmt: skip
    if algorithm == "sft":
        changes |= {"epochs": 100, "learning_rate": options.sft_rate, "lr_decay": "none", "reinforce.iters": 0}
    else:
        rate = options.sft_rate if algorithm == "expert_iteration" else options.rate
        changes |= {"epochs": 0, "reinforce": {
            "algorithm": algorithm, "iters": 10_000, "learning_rate": rate, "batch_size": 8, "group_size": 4,
            "max_tokens": 220, "kl": 0.0 if algorithm == "expert_iteration" else 0.01,
        }}  # fmt: skip
    return load_config(configs_dir() / "tiny.yaml", changes)


def train(config: Config, budget: Budget) -> tuple[Any, dict[str, Any]]:
    """Train until the tokens or the seconds are spent; return the base with its adapter, and what was measured."""
    planned = plan(config)
    config.adapter_path.mkdir(parents=True, exist_ok=True)
    (phase,) = planned.phases
    kind, most = budget
    spent, rewards, updates, began = {"tokens": 0, "seconds": 0.0}, [], 0, time.perf_counter()
    while spent[kind] < most:
        metrics = phase.update(updates)
        updates += 1
        spent["tokens"] += cost(metrics, config.reinforce.updates_per_batch)
        spent["seconds"] = round(time.perf_counter() - began, 1)
        if phase.name != "sft":
            rewards.append(float(metrics["reward"]))
    quarter = max(1, len(rewards) // 4)
    measured = {**spent, "updates": updates}
    if rewards:
        measured |= {"first": statistics.mean(rewards[:quarter]), "last": statistics.mean(rewards[-quarter:])}
    return planned.base, measured


def cost(metrics: Mapping[str, Any], updates_per_batch: int) -> int:
    """Return the tokens that an update sampled and learnt from."""
    if "target_tokens" in metrics:
        return int(metrics["target_tokens"])
    sampled = round(float(metrics["sampled"]) * float(metrics["episodes"]))
    return sampled + int(metrics["trained_tokens"]) * updates_per_batch


def answer(base: Any, config: Config, sets: dict[str, list[Problem]]) -> Right:
    """Return which problems of each set the adapter solves."""
    prompter = Prompter(base.tokenizer, config.prompt)
    base.network.eval()
    return {name: [record.correct for record in evaluate(base, prompter, problems, 220, config.decoding)]
            for name, problems in sets.items()}  # fmt: skip


def one_run(
    algorithm: str, seed: int, budget: Budget, sets: dict[str, list[Problem]], options: argparse.Namespace
) -> dict[str, Any]:
    """Return what one run comes to, from the work folder if it was done before."""
    kind = budget[0]
    file = options.work / (
        f"{START.replace(' ', '-')}.json" if algorithm == START else f"{algorithm}-{seed}-{kind}.json"
    )
    if file.exists():
        return dict(json.loads(file.read_text(encoding="utf-8")))
    config = configure("sft" if algorithm == START else algorithm, seed, kind, options)
    if algorithm == START:
        base, measured = load_base(config.model), {}
        load_adapter(base, options.adapter_path)
    else:
        base, measured = train(config, budget)
    done = {"algorithm": algorithm, "seed": seed, **measured, "right": answer(base, config, sets)}
    file.write_text(json.dumps(done), encoding="utf-8")
    shares = {name: f"{statistics.mean(right):.1%}" for name, right in done["right"].items()}
    print(algorithm, seed, {key: value for key, value in done.items() if key != "right"}, shares, flush=True)
    return done


# --- what is reported ------------------------------------------------------------------------------------------


def interval(differences: list[float]) -> tuple[float, float, float]:
    """Return the mean of the seeds' differences, and its 95% t interval."""
    mean, count = statistics.mean(differences), len(differences)
    if count < 2:
        return mean, float("-inf"), float("inf")
    half = T95[count - 1] * statistics.stdev(differences) / count**0.5
    return mean, mean - half, mean + half


def difference(runs: list[dict[str, Any]], others: list[dict[str, Any]], name: str | None) -> list[float]:
    """Return each seed's mean difference, problem by problem, on one set or on all."""
    found = []
    for mine, other in zip(runs, others, strict=True):
        pairs = [(a, b) for key in mine["right"] if name in (None, key)
                 for a, b in zip(mine["right"][key], other["right"][key], strict=True)]  # fmt: skip
        found.append(statistics.mean(float(a) - float(b) for a, b in pairs))
    return found


def table(runs: dict[str, list[dict[str, Any]]], start: dict[str, Any]) -> list[str]:
    """Return the markdown table: shares by set, and both differences over all problems with their intervals."""
    names = list(start["right"])
    lines = [f"| | {' | '.join(names)} | all, to {START} | all, to SFT continued |", "|---" * (len(names) + 3) + "|"]
    shown = {START: [start]} | runs
    for algorithm, those in shown.items():
        shares = [statistics.mean(statistics.mean(run["right"][name]) for run in those) for name in names]
        cells = [f"{share:.1%}" for share in shares]
        for others in ([start] * len(those), runs["sft"]):
            if algorithm == START or others is those:
                cells.append("–")
                continue
            mean, low, high = interval(difference(those, others, None))
            cells.append(f"{100 * mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]")
        label = "SFT continued" if algorithm == "sft" else algorithm.replace("_", " ")
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return lines


def study(budget: Budget, sets: dict[str, list[Problem]], options: argparse.Namespace) -> list[str]:
    """Run every algorithm and seed at one cost; return the table, if SFT continued is among them."""
    start = one_run(START, 0, budget, sets, options)
    runs: dict[str, list[dict[str, Any]]] = {algorithm: [] for algorithm in options.algorithms}
    for seed in options.seeds:
        for algorithm in options.algorithms:
            runs[algorithm].append(one_run(algorithm, seed, budget, sets, options))
    return [f"At {budget[1]:,} {budget[0]}:", "", *table(runs, start), ""] if "sft" in runs else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter-path", type=Path, required=True, help="the SFT run that all go on from")
    parser.add_argument("--rows", type=Path, help="GSM-8K's training rows, whose held-out wordings are a third set")
    parser.add_argument("--work", type=Path, required=True, help="where runs are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default 0 1 2")
    parser.add_argument("--algorithms", nargs="+", default=list(ALGORITHMS), choices=ALGORITHMS)
    parser.add_argument("--tokens", type=int, default=150_000, help="sampled and learnt from, of a run; 0: none")
    parser.add_argument("--seconds", type=int, default=300, help="of training, of a run (default 300); 0: none")
    parser.add_argument("--problems", type=int, default=3000, help="prompts, or examples, to go on with")
    parser.add_argument("--rate", type=float, default=1e-4, help="learning rate of policy gradients (default 1e-4)")
    parser.add_argument("--sft-rate", type=float, default=1.2e-4, help="learning rate of SFT (default 1.2e-4)")
    parser.add_argument("-n", type=int, default=800, help="problems of a set (half as many GSM-8K ones)")
    parser.add_argument("--report", type=Path, help="write the table there")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    sets = problem_sets(options.rows, options.n)
    budgets = [(kind, most) for kind, most in (("tokens", options.tokens), ("seconds", options.seconds)) if most]
    lines = [line for budget in budgets for line in study(budget, sets, options)]
    print("\n".join(lines))
    if options.report is not None:
        options.report.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
