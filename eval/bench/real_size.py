"""TinyLlama's full shape, with random weights: loads, trains its top 6 layers by SFT and RL, and saves, here.

    python eval/bench/real_size.py --tokenizer DIR [--bits 4] [--narrower N] [--work DIR] [--json]

DIR holds TinyLlama's tokenizer. Weights are fp32 on a CPU and bf16 elsewhere, or quantised with --bits. Prints each
update's time and peak memory beside the plan's prediction. Replies are short, since this is about size, not about time.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from mlx_trace.config_file import validate_config
from mlx_trace.model.base import load_base  # before MLX: it loads OpenBLAS where that is wanted
from mlx_trace.train.metrics import Metrics
from mlx_trace.train.run import plan, train

# isort: split
import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten
from mlx_lm.models import llama

WIDTHS = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")
SHAPE: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 2048, "num_hidden_layers": 22, "intermediate_size": 5632,
    "num_attention_heads": 32, "num_key_value_heads": 4, "rms_norm_eps": 1e-5, "vocab_size": 32_000,
    "rope_theta": 10_000.0, "tie_word_embeddings": False, "max_position_embeddings": 2048, "bos_token_id": 1,
    "eos_token_id": 2,
}  # fmt: skip
GIB = 1 << 30


def write_model(folder: Path, tokenizer: Path, bits: int | None, narrower: int = 1) -> Path:
    """Write a model directory with random weights in TinyLlama's shape, or in one so many times as narrow."""
    shape = SHAPE | {width: SHAPE[width] // narrower for width in WIDTHS}
    config = shape | ({"quantization": {"group_size": 64, "bits": bits}} if bits else {})
    mx.random.seed(0)
    network = llama.Model(llama.ModelArgs.from_dict(shape))
    if mx.default_device().type != mx.DeviceType.cpu:
        network.set_dtype(mx.bfloat16)
    if bits:
        nn.quantize(network, group_size=64, bits=bits)
    folder.mkdir(parents=True)
    mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(network.parameters())))
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for file in tokenizer.iterdir():
        if file.suffix in (".json", ".jinja", ".model") and file.name != "config.json":
            shutil.copy(file, folder / file.name)
    return folder


def run(model: Path, work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train a few updates of each phase; return what was measured."""
    config = validate_config({
        "model": str(model), "adapter_path": str(work / "run"), "num_layers": 6, "epochs": 1,
        "lora_parameters": {"rank": 16, "scale": 10.0}, "batch_size": 2, "learning_rate": 1e-4, "contamination": [],
        "data": [{"source": "synthetic", "n": 2 * options.updates, "schemas": ["rate_equation"]}], "save_every": 1,
        "reinforce": {"iters": options.updates, "batch_size": 1, "group_size": 4, "max_tokens": 160, "baseline": "ema"},
    }, "the benchmark")  # fmt: skip
    planned = plan(config)
    seen: list[Metrics] = []

    def report(phase: str, done: int, updates: int, metrics: Metrics) -> None:
        seen.append(metrics)
        peak = float(metrics["peak_memory"]) / GIB
        print(f"{phase} {done}/{updates}: {float(metrics['seconds']):.1f} s, peak {peak:.2f} GiB so far", flush=True)

    mx.reset_peak_memory()
    train(planned, report)
    again = load_base(str(model))
    from mlx_trace.model.adapter import load_adapter

    load_adapter(again, config.adapter_path)
    moved = [name for name, value in mx.load(str(config.adapter_path / "adapters.safetensors")).items()
             if name.endswith("lora_b") and mx.abs(value).max().item() > 0]  # fmt: skip
    seconds = {
        phase: [round(float(one["seconds"]), 1) for one in seen if one["phase"] == phase] for phase in ("sft", "rl")
    }
    return {"peak_memory": max(int(one["peak_memory"]) for one in seen), "seconds": seconds, "moved": len(moved),
            "weights": sum(value.nbytes for _, value in tree_flatten(again.network.parameters()))}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, required=True, help="a directory with TinyLlama's tokenizer")
    parser.add_argument("--bits", type=int, choices=(4, 8), help="quantise the base (QLoRA)")
    parser.add_argument(
        "--narrower", type=int, choices=(1, 2, 4), default=1, help="so many times as narrow (default 1)"
    )
    parser.add_argument("--updates", type=int, default=2, help="of each phase (default 2)")
    parser.add_argument("--work", type=Path, help="where to put the model and the run (default: removed afterwards)")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = options.work or Path(folder)
        model = work / f"tinyllama-{options.bits or 'full'}"
        if not model.exists():
            write_model(model, options.tokenizer, options.bits, options.narrower)
        found = run(model, work, options)
    if options.json:
        print(json.dumps(found))
    else:
        print(f"peak {found['peak_memory'] / GIB:.2f} GiB, of which {found['weights'] / GIB:.2f} GiB are the weights; "
              f"{found['moved']} adapters moved, saved and loaded again")  # fmt: skip


if __name__ == "__main__":
    main()
