"""One update of reinforcement beside mlx-lm-lora's GRPO: one process, the same prompts, groups, LoRA and rewards.

    python eval/bench/rl.py [--model tiny | scaled] [--prompts 4] [--group 8] [--num-layers N] [--runs 5] [--json]

Ratios above 1 mean that mlx-trace is faster: of medians over updates that take turns, after one of each to warm up.
Like for like is without the constraint, which mlx-lm-lora does not have; with it, the constraint's gain counts, too.
`tiny`, with the bundled adapter fused, samples freely; `scaled`, 22 layers of random weights, replays its samples.
Learning is all that follows the rollout; grading belongs to ours, and to what follows theirs. By default mlx-lm-lora
runs as its own settings have it with as many prompts as samples: a group is decoded at once (bench/grpo.py); --decode
lifts that. Both compute the same gradient: groups of equal rewards have none, and ours leaves them out.
"""

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from unittest.mock import patch

from mlx_trace.train.rl.reinforce import Reinforce  # before MLX, whose BLAS our packages choose

# isort: split
import mlx.core as mx
from decode import machine, merged
from grpo import Grpo, Update
from replay import Ids, Script, replayed_draws, scripts_of
from rich.console import Console
from rich.table import Table
from scaled import write_scaled

from mlx_trace.config import Config, Prompt
from mlx_trace.config_decoding import Decoding
from mlx_trace.errors import UserError
from mlx_trace.evaluate.suites import suite
from mlx_trace.memory.predict import MemoryPlan
from mlx_trace.model.adapter import attach_adapter
from mlx_trace.model.base import TINY, Base, load_base
from mlx_trace.model.layers import Split
from mlx_trace.model.prompts import Prompter
from mlx_trace.problems.problem import Problem
from mlx_trace.resources import adapters_dir
from mlx_trace.train.ranks import Ranks
from mlx_trace.train.rl import reinforce
from mlx_trace.train.rl.reward import make_scorer

SCALED = "scaled"
NUM_LAYERS = {TINY: 2, SCALED: 4}  # that are trained, of 4 and 22
WORDS = 4608  # of tiny's tokenizer, which the scaled model uses here: a head an eighth wider than TinyLlama's
LEARNING_RATE = 1e-6  # so small that both sides go on sampling alike
LEAST = 4.0  # times as fast as theirs
APART = 0.05  # mean lengths that differ by more than this share are not compared update by update
OURS = ("unconstrained", "constrained")
PARTS = ("update", "rollout", "learn")


@dataclass(frozen=True)
class Bench:
    """What the sides are given; `scripts` hold a group of replies to each problem."""

    model: Path
    config: Config
    problems: list[Problem]
    scripts: dict[str, list[Script]] | None  # by problem; None where replies are sampled

    def load(self) -> tuple[Base, Prompter]:
        """Return the model, loaded afresh, with a new adapter: the same each time."""
        base = load_base(str(self.model))
        attach_adapter(base, self.config)
        mx.eval(base.network.parameters())
        return base, Prompter(base.tokenizer, self.config.prompt)

    def replies(self, problems: Sequence[Problem], is_constrained: bool) -> list[Ids]:
        """Return what is to be drawn, for each sample; nothing where replies are sampled."""
        scripts = [one for problem in problems for one in self.scripts[problem.id]] if self.scripts else []
        return [one.drawn if is_constrained else one.wanted for one in scripts]


Updates = dict[str, list[Update]]  # by side


# --- the sides -------------------------------------------------------------------------------------------------


class Ours:
    """Our phase, with the constraint or without."""

    def __init__(self, bench: Bench, constraint: str) -> None:
        self.bench, self.is_constrained = bench, constraint != "none"
        config = bench.config.model_copy(update={"decoding": Decoding(constraint=constraint)})
        base, prompter = bench.load()
        self.phase = Reinforce(base, Split(base.network, config.num_layers), prompter, config, bench.problems, [],
                               MemoryPlan(1024), Ranks(), make_scorer(config.reinforce))  # fmt: skip

    def problems(self, index: int) -> list[Problem]:
        """Return the problems of an update, the same for every side."""
        size = self.phase.rl.batch_size
        return [self.phase._problem(n) for n in range(index * size, (index + 1) * size)]

    def update(self, index: int) -> Update:
        """Take one update."""
        scripts = self.bench.replies(self.problems(index), self.is_constrained)
        began = time.perf_counter()
        with replaying(scripts) if scripts else nullcontext():
            metrics = self.phase.update(index)
        seconds = time.perf_counter() - began
        tokens = metrics["length"] * self.phase.rl.batch_size * self.phase.rl.group_size
        return Update(seconds, metrics["rollout_seconds"], tokens)


@contextmanager
def replaying(scripts: Sequence[Ids]) -> Iterator[None]:
    """Let the engine replay scripts, whose log-probabilities are then not those of a draw."""
    with replayed_draws(scripts), patch.object(reinforce, "_GAP", math.inf):
        yield


def compare(bench: Bench, num_runs: int, width: int) -> Updates:
    """Return the updates of the three sides, which take turns, without the first of each."""
    ours, free = Ours(bench, "scope"), Ours(bench, "none")
    theirs = Grpo(*bench.load(), bench.config, bench.model, width)
    found: Updates = {"unconstrained": [], "constrained": [], "theirs": []}
    for index in range(num_runs + 1):
        found["unconstrained"].append(free.update(index))
        found["constrained"].append(ours.update(index))
        problems = ours.problems(index)
        found["theirs"].append(theirs.update(problems, bench.replies(problems, False)))
    return {name: updates[1:] for name, updates in found.items()}


# --- what is reported ------------------------------------------------------------------------------------------


def tokens(found: Updates, side: str) -> float:
    """Return the tokens of all updates' replies."""
    return sum(one.tokens for one in found[side])


def is_apart(found: Updates, side: str) -> bool:
    """Tell whether our replies are so much longer or shorter than theirs that only time per token compares."""
    return abs(tokens(found, side) / tokens(found, "theirs") - 1) > APART


def ratio(found: Updates, side: str, part: str) -> float:
    """Return how many times faster we are; per token where the mean lengths are apart."""

    def cost(name: str) -> float:
        return statistics.median(
            getattr(one, part) / (one.tokens if is_apart(found, side) else 1) for one in found[name]
        )

    return round(cost("theirs") / cost(side), 3)


def print_report(found: Updates, bench: Bench) -> None:
    """Print the figures beside what an update has to beat."""
    rl = bench.config.reinforce
    samples = rl.batch_size * rl.group_size
    title = f"One RL update beside mlx-lm-lora: {rl.batch_size} prompts × {rl.group_size}, {rl.baseline} baseline"
    table = Table(
        "measured", "free", "constrained", "theirs", "like for like", "constrained", "target", "met", title=title
    )
    for part in PARTS:
        times = [f"{statistics.median(getattr(one, part) for one in updates):.3f} s" for updates in found.values()]
        both = [ratio(found, side, part) for side in OURS]
        target = (f"≥ {LEAST}×", "yes" if both[1] >= LEAST else "NO") if part == "update" else ("", "")
        table.add_row(part, *times, *(f"{one:.2f}×" for one in both), *target)
    table.add_row("mean length", *(f"{tokens(found, side) / len(found[side]) / samples:.1f}" for side in found))
    table.add_row("tokens", *(f"{tokens(found, side):,.0f}" for side in found))
    console = Console()
    console.print(table)
    for side in OURS:
        if is_apart(found, side):
            console.print(f"{side}: mean lengths are over {APART:.0%} apart, so the ratios are of seconds per token")
    console.print("The target is for the constrained update. Tokens are those of all updates, forced ones too.")
    console.print(f"machine: {machine() | {'mlx-lm-lora': version('mlx-lm-lora')}}", highlight=False)


# --- from the command line -------------------------------------------------------------------------------------


def prepare(options: argparse.Namespace, folder: Path) -> Bench:
    """Write the model directory, and settle what the sides are to do."""
    model = (
        merged(TINY, adapters_dir() / TINY, folder / "model")
        if options.model == TINY
        else write_scaled(folder / "model", vocab_size=WORDS)
    )
    settings = {
        "iters": options.runs + 1, "batch_size": options.prompts, "group_size": options.group,
        "learning_rate": LEARNING_RATE, "max_tokens": options.max_tokens,
        "baseline": options.baseline or ("group_mean" if options.model == TINY else "ema"),
        "kl": 0.0,
    }  # fmt: skip
    layers = options.num_layers or NUM_LAYERS[options.model]
    config = Config(adapter_path=folder / "run", num_layers=layers, reinforce=settings)
    problems = suite("synthetic", options.prompts * (options.runs + 1))
    if options.model == TINY:
        return Bench(model, config, problems, None)
    base = load_base(str(model))
    found = scripts_of(base, Prompter(base.tokenizer, Prompt()), problems, options.group, options.max_tokens)
    return Bench(model, config, [problem for problem, *_ in found], {problem.id: own for problem, _, own in found})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=(TINY, SCALED), default=TINY, help="what is trained (default tiny)")
    parser.add_argument("--prompts", type=int, default=8, help="of an update (default 8)")
    parser.add_argument("--group", type=int, default=8, help="samples of each prompt (default 8)")
    parser.add_argument("--num-layers", type=int, help="top layers that are trained (default 2 of tiny, 4 of scaled)")
    parser.add_argument("--max-tokens", type=int, default=220, help="of a reply (default 220)")
    parser.add_argument("--decode", type=int, help="samples that mlx-lm-lora decodes at once (default: a group)")
    skips = "ours (default group_mean, as theirs, which skips groups of equal rewards; ema with scaled, where all are)"
    parser.add_argument("--baseline", choices=("ema", "group_mean"), help=skips)
    parser.add_argument("--runs", type=int, default=5, help="updates of each side to take the median of (default 5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            bench = prepare(options, Path(folder))
            found = compare(bench, options.runs, options.decode or options.group)
    except UserError as error:
        raise SystemExit("\n".join(error.lines())) from None
    if options.json:
        print(json.dumps({side: {part: ratio(found, side, part) for part in PARTS} for side in OURS}))
    else:
        print_report(found, bench)


if __name__ == "__main__":
    main()
