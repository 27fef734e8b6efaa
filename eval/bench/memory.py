"""The planner's prediction beside MLX's measured peak, on runs as `mlx-trace train` plans them, a fresh process each.

    python eval/bench/memory.py [NAME ...] [--json]

A run does SFT's update with the longest batch, after another one, then reinforcement's first two updates; with an
activation cache, all examples are read first. Except for tiny and SmolLM2, weights are random. A prediction counts
replies of max_tokens, all learnt from (here by baseline ema): a trained model, whose replies are short and often all
right, takes less. The planner's constants were fitted to other runs, but for two of reinforcement (_DRAWN, _SCOPE),
which were last set with the runs of tiny and of the 128k vocabulary in view.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from mlx_trace.train.run import plan  # before MLX, whose BLAS our packages choose

# isort: split
import mlx.core as mx
from mlx import nn
from mlx.utils import tree_flatten
from mlx_lm.utils import load_model
from rich.console import Console
from rich.table import Table
from scaled import write_scaled

from mlx_trace.config_file import find_config, load_config
from mlx_trace.memory.predict import predict
from mlx_trace.train.sft import Sft

NEAR = 0.2
VOCABULARY = {"vocab_size": 4608}
DATA = [{"source": "synthetic", "n": 400}]
RL = {"iters": 2, "batch_size": 4, "group_size": 4, "max_tokens": 120, "baseline": "ema"}
SMOLLM2 = {"batch_size": 8, "data": DATA, "reinforce": {"iters": 0}}
CASES: dict[str, dict[str, Any]] = {
    "tiny, SFT and RL": {"config": {"reinforce.baseline": "ema"}},
    "22 layers, 4 trained, SFT and RL": {
        "shape": VOCABULARY, "config": {"num_layers": 4, "reinforce": RL, "batch_size": 8}},
    "128k vocabulary, SFT and RL": {
        "shape": {"vocab_size": 128256, "num_hidden_layers": 4, "tie_word_embeddings": True},
        "config": {"num_layers": 2, "batch_size": 4, "reinforce": RL | {"batch_size": 2}}},
    "a batch of 24, grad_checkpoint": {
        "shape": VOCABULARY | {"num_hidden_layers": 8, "hidden_size": 192, "num_attention_heads": 6, "head_dim": 32},
        "config": {"num_layers": -1, "batch_size": 24, "grad_checkpoint": True}},
    "full fine-tune": {
        "shape": VOCABULARY | {"num_hidden_layers": 6, "hidden_size": 512, "intermediate_size": 1408},
        "config": {"num_layers": -1, "fine_tune_type": "full", "batch_size": 4}},
    "4-bit base": {
        "bits": 4, "shape": VOCABULARY | {"num_hidden_layers": 8, "hidden_size": 512, "intermediate_size": 1536},
        "config": {"num_layers": 4, "batch_size": 4}},
    "bf16": {
        "dtype": "bfloat16", "shape": VOCABULARY | {"num_hidden_layers": 4, "hidden_size": 128, "head_dim": 32,
                                                    "intermediate_size": 384},
        "config": {"num_layers": 2, "batch_size": 2}},
    "activation cache in memory": {
        "shape": VOCABULARY | {"num_hidden_layers": 4, "hidden_size": 512, "intermediate_size": 1024},
        "config": {"num_layers": 2, "batch_size": 4, "epochs": 2, "activation_cache": "memory"}},
    "SmolLM2 135M, SFT": {"model": "smollm2-135m", "config": SMOLLM2},
    "SmolLM2 135M, RL": {
        "model": "smollm2-135m",
        "config": SMOLLM2 | {"epochs": 0, "reinforce": RL}},
    "a tight budget": {
        "shape": VOCABULARY | {"num_hidden_layers": 6, "num_key_value_heads": 4},
        "config": {"num_layers": 3, "batch_size": 16, "memory": 0.25, "reinforce": RL}},
}  # fmt: skip


def measure(name: str) -> dict[str, float]:
    """Do a case's updates in this process; return its prediction and its peak, in bytes."""
    case = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        model = str(_write(Path(folder) / "model", case)) if "shape" in case else case.get("model", "tiny")
        overrides = {"adapter_path": folder + "/run", "contamination": [], "model": model} | case.get("config", {})
        if "shape" in case:
            overrides |= {"data": DATA, "lora_parameters": {"rank": 8}}
        planned = plan(load_config(None if "shape" in case else find_config(model), overrides))
        mx.reset_peak_memory()
        for phase in planned.phases:
            if isinstance(phase, Sft):
                largest = _largest(phase)
                if planned.memory.activation_cache == "memory":
                    for at in range(len(phase.examples.rows)):
                        phase.states([at])
                phase.update(1 if largest == 0 else 0)
                phase.update(largest)
            else:
                phase.update(0)
                phase.update(1)
        predicted = predict(planned.needs.shape, planned.needs.work, planned.memory).most
    return {"predicted": predicted, "measured": mx.get_peak_memory()}


def _largest(phase: Sft) -> int:
    """Return which of the first epoch's updates has the micro-batch of most tokens, and of these the longest rows."""
    examples = phase.examples

    def size(batch: list[int]) -> tuple[int, int]:
        shapes = [(len(micro), max(examples.lengths[at] for at in micro))
                  for micro in examples.micro_batches(batch, phase.plan.micro_tokens, phase.ranks)]  # fmt: skip
        return max((rows * length, length) for rows, length in shapes)

    batches = phase.batches.first_epoch()
    return max(range(len(batches)), key=lambda at: size(batches[at]))


def _write(folder: Path, case: dict[str, Any]) -> Path:
    dtype = getattr(mx, case["dtype"]) if "dtype" in case else mx.float32
    write_scaled(folder, dtype, **case["shape"])
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    content["torch_dtype"] = str(dtype).split(".")[-1]
    if "bits" in case:
        network, _ = load_model(folder)
        nn.quantize(network, 64, case["bits"])
        mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(network.parameters())))
        content["quantization"] = {"group_size": 64, "bits": case["bits"]}
    (folder / "config.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def in_fresh_process(name: str) -> dict[str, float]:
    """Measure a case where nothing else was; add the ratio of prediction to peak."""
    done = subprocess.run([sys.executable, __file__, "--here", name], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found | {"ratio": round(found["predicted"] / found["measured"], 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {'; '.join(CASES)} (default all)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure(options.here)))
        return
    if unknown := set(options.names) - set(CASES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {'; '.join(CASES)}")
    found = {name: in_fresh_process(name) for name in options.names or CASES}
    if options.json:
        print(json.dumps(found))
        return
    shown = Table("run", box=None, padding=(0, 2, 0, 0))
    for heading in ("predicted, MB", "measured, MB", "ratio", ""):
        shown.add_column(heading, justify="right")
    for name, row in found.items():
        is_near = abs(row["ratio"] - 1) <= NEAR
        shown.add_row(name, *(f"{row[part] / 1e6:,.0f}" for part in ("predicted", "measured")), f"{row['ratio']:.2f}",
                      "" if is_near else f"not within {NEAR:.0%}")  # fmt: skip
    Console(highlight=False).print(shown)


if __name__ == "__main__":
    main()
