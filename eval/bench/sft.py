"""An epoch of SFT beside mlx_lm.lora's: one process, the same model, LoRA, rows, batch size and optimizer.

    python eval/bench/sft.py [--rows 32] [--batch-size 8] [--runs 5] [--num-layers 4] [--shape scaled] [--json]

Ratios of times above 1 mean that mlx-trace is faster: of medians over fresh runs, which take turns, after two batches
of each to warm up. What is made ready in a run, such as a cache, counts in its first epoch; three epochs are that one
and two later ones. The peaks of memory are those of a shallow model with Llama 3's vocabulary, weights included: with
each side's usual micro-batch (2,048 tokens here, a batch there), and with the smallest that makes the same update, a
row at a time with layers computed again.
"""

import argparse
import gc
import io
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlx_trace.train.sft import Sft  # before MLX, whose BLAS our packages choose

# isort: split
import mlx.core as mx
import mlx.optimizers as optim
from decode import machine
from mlx_lm.tuner.datasets import CacheDataset
from mlx_lm.tuner.trainer import TrainingArgs, default_loss, iterate_batches, train
from rich.console import Console
from rich.table import Table
from scaled import SHAPE, is_cpu, random_rows, write_scaled

from mlx_trace.config import Config
from mlx_trace.errors import UserError
from mlx_trace.memory.predict import MemoryPlan
from mlx_trace.model.adapter import attach_adapter
from mlx_trace.model.base import Base, load_base
from mlx_trace.model.layers import Split
from mlx_trace.train.examples import Example
from mlx_trace.train.ranks import Ranks

EPOCHS = 2  # the first, and one that stands for all later ones
WIDE = {"num_hidden_layers": 4, "vocab_size": 128256}
WIDE_LAYERS, WIDE_BATCHES = 2, 2
TOLERANCE = 1e-4  # of the two losses of one batch in fp32, relative
SHAPES: dict[str, dict[str, Any]] = {
    "scaled": {},
    "smollm2-135m": {
        "hidden_size": 576, "num_hidden_layers": 30, "intermediate_size": 1536, "num_attention_heads": 9,
        "num_key_value_heads": 3, "rope_theta": 100_000.0, "vocab_size": 49152, "tie_word_embeddings": True,
    },
}  # fmt: skip
FIRST, FIRST_AIM, LATER, THREE, MEMORY = 1.3, 1.5, 3.0, 3.0, 0.5


@dataclass(frozen=True)
class Bench:
    """What both sides are given: a model directory, the settings, and the rows."""

    folder: Path
    config: Config
    rows: list[Example]

    def base(self) -> Base:
        """Return the model, loaded afresh, with a new adapter: the same each time."""
        base = load_base(str(self.folder))
        attach_adapter(base, self.config)
        mx.eval(base.network.parameters())
        return base


@dataclass(frozen=True)
class Run:
    """One training from the start: the seconds of each epoch, and the peak of memory in bytes."""

    epochs: list[float]
    peak: int


Runs = dict[str, list[Run]]  # by side
Peaks = dict[str, dict[str, int]]  # bytes, by way and side
Shape = dict[str, Any]


# --- the two sides ---------------------------------------------------------------------------------------------


def ours(base: Base, config: Config, rows: Sequence[Example]) -> list[float]:
    """Train with our SFT phase, update by update as a run does; return when each epoch was done."""
    phase = make_phase(base, config, rows)
    done = []
    for index in range(phase.updates):
        phase.update(index)
        if phase.batches.locate(index + 1)[1] == 0:
            done.append(time.perf_counter())
    return done


def make_phase(base: Base, config: Config, rows: Sequence[Example]) -> Sft:
    """Return our SFT phase, with a run's usual plan of memory, or the smallest."""
    memory = (
        MemoryPlan(1, activation_cache="off") if config.grad_checkpoint else MemoryPlan(2048, activation_cache="memory")
    )
    return Sft(base, Split(base.network, config.num_layers, config.grad_checkpoint), config, rows, [], memory, Ranks())


class Chats:
    """Rows as mlx-lm's ChatDataset holds them, a dictionary each, which become ids and a prompt's length when asked."""

    def __init__(self, rows: Sequence[Example]) -> None:
        self.rows = [{"messages": row} for row in rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: int) -> dict[str, Example]:
        return self.rows[at]

    def process(self, row: dict[str, Example]) -> tuple[list[int], int]:
        """Return the ids, and how many of them the loss leaves out."""
        return row["messages"].prompt + row["messages"].target, len(row["messages"].prompt)


class Clock:
    """What mlx-lm calls at every report: notes the time."""

    def __init__(self) -> None:
        self.done: list[float] = []

    def on_train_loss_report(self, _: dict[str, Any]) -> None:
        """Note that an epoch is done."""
        self.done.append(time.perf_counter())


def theirs(base: Base, config: Config, rows: Sequence[Example]) -> list[float]:
    """Train with mlx-lm's trainer, as mlx_lm.lora calls it; return when each epoch was done."""
    rows_each = 1 if config.grad_checkpoint else config.batch_size
    per_epoch = len(rows) // rows_each
    iters, clock = per_epoch * config.epochs, Clock()
    arguments = TrainingArgs(
        batch_size=rows_each, iters=iters, steps_per_report=per_epoch, steps_per_save=iters + 1,
        max_seq_length=config.max_seq_length, adapter_file=str(config.adapter_path / "theirs.safetensors"),
        grad_checkpoint=config.grad_checkpoint, grad_accumulation_steps=config.batch_size // rows_each,
    )  # fmt: skip
    optimizer = optim.AdamW(config.learning_rate, betas=[0.9, 0.95], weight_decay=config.weight_decay)
    with redirect_stdout(io.StringIO()):
        train(base.network, optimizer, CacheDataset(Chats(rows)), args=arguments, training_callback=clock)
    return clock.done


SIDES: dict[str, Callable[[Base, Config, Sequence[Example]], list[float]]] = {"ours": ours, "mlx_lm": theirs}


# --- what is compared ------------------------------------------------------------------------------------------


def run(bench: Bench, side: str) -> Run:
    """Train from the start on one side, from an empty memory cache and an empty directory."""
    shutil.rmtree(bench.config.adapter_path, ignore_errors=True)
    bench.config.adapter_path.mkdir(parents=True)
    gc.collect()
    mx.clear_cache()
    base = bench.base()
    mx.reset_peak_memory()
    began = time.perf_counter()
    done = SIDES[side](base, bench.config, bench.rows)
    epochs = [end - start for start, end in zip([began, *done[:-1]], done, strict=True)]
    return Run(epochs, mx.get_peak_memory())


def compare(bench: Bench, num_runs: int) -> Runs:
    """Return the runs of both sides, which take turns, after a short one of each."""
    runs: Runs = {side: [] for side in SIDES}
    for side in SIDES:
        run(replace(bench, rows=bench.rows[: 2 * bench.config.batch_size]), side)
    for _ in range(num_runs):
        for side, found in runs.items():
            found.append(run(bench, side))
    return runs


def check_losses(bench: Bench) -> None:
    """Exit with 1 unless both sides have the same loss, over as many targets, on the first batch of rows.

    mlx-lm counts one token of padding a row among the targets; it is left out of this check, not of the runs.
    """
    rows, base = bench.rows[: bench.config.batch_size], bench.base()
    base.network.set_dtype(mx.float32)
    ids, spans = next(iterate_batches(CacheDataset(Chats(rows)), len(rows), bench.config.max_seq_length))
    loss, count = (value.item() for value in default_loss(base.network, ids, spans - mx.array([0, 1])))
    measured = make_phase(base, bench.config, rows).update(0)
    if measured["target_tokens"] != count or abs(measured["loss"] - loss) > TOLERANCE * loss:
        raise SystemExit(
            f"not like with like: our loss is {measured['loss']:.6f} over {measured['target_tokens']} targets, "
            f"mlx-lm's {loss:.6f} over {count}"
        )


# --- what is reported ------------------------------------------------------------------------------------------


def seconds(runs: Runs, side: str, epoch: int) -> float:
    """Return the median of an epoch's seconds."""
    return statistics.median(one.epochs[epoch] for one in runs[side])


def three_epochs(runs: Runs, side: str) -> float:
    """Return the seconds of a first epoch and two later ones."""
    return seconds(runs, side, 0) + 2 * seconds(runs, side, 1)


def spread(runs: Runs, epoch: int) -> str:
    """Return the least and the largest ratio of neighbouring runs."""
    pairs = zip(runs["mlx_lm"], runs["ours"], strict=True)
    ratios = sorted(their.epochs[epoch] / our.epochs[epoch] for their, our in pairs)
    return f"{ratios[0]:.2f} to {ratios[-1]:.2f}"


def report(runs: Runs, peaks: Peaks) -> dict[str, float]:
    """Return the ratios, as --json prints them."""
    first, later = (seconds(runs, "mlx_lm", epoch) / seconds(runs, "ours", epoch) for epoch in range(EPOCHS))
    return {
        "first_epoch": round(first, 3),
        "later_epochs": round(later, 3),
        "three_epochs": round(three_epochs(runs, "mlx_lm") / three_epochs(runs, "ours"), 3),
        "peak_memory": round(peaks["usual"]["ours"] / peaks["usual"]["mlx_lm"], 3),
        "smallest_memory": round(peaks["smallest"]["ours"] / peaks["smallest"]["mlx_lm"], 3),
    }


def print_report(found: dict[str, float], runs: Runs, peaks: Peaks, bench: Bench) -> None:
    """Print the figures beside what the trainer has to beat."""
    rows, layers = len(bench.rows), bench.config.num_layers
    title = f"SFT beside mlx-lm: {rows} rows in batches of {bench.config.batch_size}, top {layers} layers trained"
    table = Table("measured", "ours", "mlx-lm", "ratio", "all pairs", "target", "met", title=title)

    def add(name: str, values: list[str], ratio: float, pairs: str, target: str, is_met: bool) -> None:
        table.add_row(name, *values, f"{ratio:.2f}×", pairs, target, "yes" if is_met else "NO")

    times = [[f"{seconds(runs, side, epoch):.2f} s" for side in SIDES] for epoch in range(EPOCHS)]
    first, later, three, usual, smallest = found.values()
    add("first epoch", times[0], first, spread(runs, 0), f"≥ {FIRST}×, aim {FIRST_AIM}×", first >= FIRST)
    add("later epochs", times[1], later, spread(runs, 1), f"≥ {LATER}×", later >= LATER)
    tokens = 3 * sum(len(row.prompt) + len(row.target) for row in bench.rows)
    speeds = [f"{tokens / three_epochs(runs, side):,.0f} tokens/s" for side in SIDES]
    add("three epochs", speeds, three, "", f"≥ {THREE}×", three >= THREE)
    sizes = {way: [f"{peak / 2**20:,.0f} MiB" for peak in each.values()] for way, each in peaks.items()}
    add("peak memory at 128k", sizes["usual"], usual, "", f"≤ {MEMORY}×", usual <= MEMORY)
    add("the same, at the smallest", sizes["smallest"], smallest, "", "≤ 1×", smallest <= 1)
    console = Console()
    console.print(table)
    console.print(f"machine: {machine()}", highlight=False)


# --- from the command line -------------------------------------------------------------------------------------


def prepare(options: argparse.Namespace, folder: Path, num_rows: int, num_layers: int, shape: Shape) -> Bench:
    """Write the model directory, and make the rows and the settings of both sides."""
    config = Config(
        adapter_path=folder / "run", num_layers=num_layers, epochs=EPOCHS, batch_size=options.batch_size, grad_clip=0.0
    )  # without a clip, which mlx-lm does not have
    model = write_scaled(folder / "model", getattr(mx, options.dtype) if options.dtype else None, **shape)
    return Bench(model, config, random_rows(num_rows, (SHAPE | shape)["vocab_size"]))


def measure(options: argparse.Namespace, folder: Path) -> None:
    """Run everything, and print what was found."""
    bench = prepare(options, folder / "deep", options.rows, options.num_layers, SHAPES[options.shape])
    check_losses(bench)
    runs = compare(bench, options.runs)
    shape = WIDE | {"vocab_size": options.vocabulary}
    wide = prepare(options, folder / "wide", WIDE_BATCHES * options.batch_size, WIDE_LAYERS, shape)
    small = replace(wide, config=wide.config.model_copy(update={"grad_checkpoint": True}))
    peaks = {
        way: {side: run(each, side).peak for side in SIDES} for way, each in (("usual", wide), ("smallest", small))
    }
    found = report(runs, peaks)
    if options.json:
        print(json.dumps(found))
    else:
        print_report(found, runs, peaks, bench)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    rows = 32 if is_cpu() else 256
    parser.add_argument("--rows", type=int, default=rows, help=f"of an epoch, in whole batches (default here {rows})")
    parser.add_argument("--batch-size", type=int, default=8, help="rows of an update (default 8)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each side to take the median of (default 5)")
    parser.add_argument("--num-layers", type=int, default=4, help="top layers that are trained (default 4)")
    parser.add_argument("--shape", choices=SHAPES, default="scaled",
                        help="of the network whose times are compared: TinyLlama's 22 layers at an eighth of its "
                        "width, or SmolLM2-135M's 30 (default %(default)s)")  # fmt: skip
    parser.add_argument("--vocabulary", type=int, default=WIDE["vocab_size"], metavar="N",
                        help="tokens of the network whose memory is compared (default %(default)s)")  # fmt: skip
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="of weights (default: float32 on a CPU only)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.rows % options.batch_size or options.rows < options.batch_size:
        parser.error("--rows must be a multiple of --batch-size: mlx-lm leaves out what does not fill a batch")
    try:
        with tempfile.TemporaryDirectory() as folder:
            measure(options, Path(folder))
    except UserError as error:
        raise SystemExit("\n".join(error.lines())) from None


if __name__ == "__main__":
    main()
