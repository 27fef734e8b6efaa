"""TinyLlama at an eighth of its width, with random weights, and rows of random ids as long as compiled GSM-8K traces.

    python eval/bench/scaled.py GSM8K-train.jsonl TOKENIZER    # measures the lengths, and writes lengths.json again

For bench/sft.py and bench/rl.py. Head and layer cost what they do in TinyLlama, beside one another; lengths.json holds
no text, only the lengths of prompts and targets with TinyLlama's tokenizer, and of what all prompts begin with.
"""

import json
import shutil
import sys
from pathlib import Path
from random import Random
from typing import Any

from mlx_trace.config import Prompt
from mlx_trace.errors import UserError
from mlx_trace.model.base import read_tokenizer  # before MLX, whose BLAS our packages choose

# isort: split
import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm.models import llama

from mlx_trace.model.prompts import Prompter
from mlx_trace.problems.compile.compiler import Compiled, compile_file
from mlx_trace.problems.gsm8k import is_held_out
from mlx_trace.resources import tiny_dir
from mlx_trace.train.examples import Example

LENGTHS = Path(__file__).with_name("lengths.json")
NUM_LENGTHS = 400
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 64, "rope_theta": 10_000.0}
SHAPE = {"model_type": "llama", "hidden_size": 256, "num_hidden_layers": 22, "intermediate_size": 704} | HEADS
SHAPE |= {"vocab_size": 4000, "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "eos_token_id": 1}


def is_cpu() -> bool:
    """Tell whether MLX computes on a CPU, where fp32 is the fast type."""
    return bool(mx.default_device().type == mx.DeviceType.cpu)


def write_scaled(folder: Path, dtype: mx.Dtype | None = None, **changes: Any) -> Path:
    """Write a model directory of the shape, changed as asked, with tiny's tokenizer: fp32 on a CPU, else bf16."""
    shape = SHAPE | changes
    folder.mkdir(parents=True)
    mx.random.seed(0)
    network = llama.Model(llama.ModelArgs.from_dict(shape))
    network.set_dtype(dtype or (mx.float32 if is_cpu() else mx.bfloat16))
    mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(network.parameters())))
    (folder / "config.json").write_text(json.dumps(shape), encoding="utf-8")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(tiny_dir() / name, folder)
    return folder


def random_rows(count: int, vocabulary_size: int) -> list[Example]:
    """Return so many examples of random ids, as long as real ones; all prompts begin alike. Without end of sequence."""
    lengths = json.loads(LENGTHS.read_text(encoding="utf-8"))
    if count > len(lengths["pairs"]):
        raise UserError(f"there are lengths for {len(lengths['pairs'])} rows, not for {count}")
    rng = np.random.default_rng(0)

    def draw(length: int) -> list[int]:
        return rng.integers(2, vocabulary_size, length).tolist()

    prefix = draw(lengths["prefix"])
    return [Example(prefix + draw(prompt - len(prefix)), draw(target)) for prompt, target in lengths["pairs"][:count]]


def measure(rows: Path, tokenizer: Path) -> dict[str, Any]:
    """Return the lengths of a seeded sample of the grounded traces that training takes, in tokens."""
    prompter = Prompter(read_tokenizer(tokenizer, {"eos_token_id": 2}), Prompt())
    compiled = [one for one in compile_file(rows) if isinstance(one, Compiled) and one.grounded]
    problems = [one.problem for one in compiled if not is_held_out(one.problem)]
    chosen = Random(0).sample(problems, NUM_LENGTHS)
    examples = [prompter.example(problem.question, problem.trace or "") for problem in chosen]
    return {"prefix": len(prompter.prefix), "pairs": [[len(prompt), len(target)] for prompt, target in examples]}


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    lengths = measure(*map(Path, sys.argv[1:]))
    lines = [", ".join(map(json.dumps, lengths["pairs"][at : at + 10])) for at in range(0, NUM_LENGTHS, 10)]
    pairs = ",\n".join(lines)
    LENGTHS.write_text(f'{{"prefix": {lengths["prefix"]}, "pairs": [\n{pairs}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
