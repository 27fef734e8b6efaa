"""What a trace's choices cost a model: the loss on gold traces by what is chosen, names that it spells and all else.

    python eval/bench/choices.py [MODEL] [--adapter-path RUN] [--data phrasing|FILE] [-n 40]

Gold traces are read as training under `loss: choices` reads them; loss is in nats. On what decides (operations, fields,
numbers, names that are there) two runs can be told apart by fewer problems than by their answers.
"""

import argparse
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Final

import numpy as np

from mlx_trace.config import Decoding, Prompt
from mlx_trace.decode.grammar.writing import Choice
from mlx_trace.evaluate.suites import suite
from mlx_trace.model.adapter import load_adapter, read_adapter_config
from mlx_trace.model.base import Base, load_base
from mlx_trace.model.layers import Split
from mlx_trace.model.prompts import Prompter
from mlx_trace.problems.problem import Problem
from mlx_trace.train.activation_cache import ActivationCache
from mlx_trace.train.examples import examples
from mlx_trace.train.learner import Learner
from mlx_trace.train.ranks import Ranks
from mlx_trace.train.sft import PackedExamples

import mlx.optimizers as optim  # isort: skip

KEY: Final = re.compile(r"([a-z_]+): ?\[?[^:\[\]{}]*\Z")
LONGEST: Final = 10_000  # tokens of an example


def kind_of(choice: Choice, before: str) -> str:
    """Return what is chosen after a text: the letters of a name, or what belongs to a key."""
    key = KEY.search(before.rpartition("\n")[2])
    name = key.group(1) if key else "next step or end"
    return f"{name}: spelled" if choice.mask is not None else name


def losses_by_kind(base: Base, prompter: Prompter, problems: list[Problem]) -> dict[str, list[float]]:
    """Return −log p of each choice that the problems' gold traces take, by what is chosen."""
    rows = examples(problems, prompter, LONGEST, held_to=Decoding())
    split = Split(base.network, 1)
    packed = PackedExamples(base, split, rows, 1.0)
    cache = ActivationCache(split, rows, packed.shared, "off", base.path, lambda index: [index])
    learner = Learner(base.network, split, optim.SGD(0.0), 0.0, Ranks())
    found: dict[str, list[float]] = defaultdict(list)
    for index, row in enumerate(rows):
        if row.choices is None:
            continue
        batch = packed.pack([index], cache, 1.0)
        losses = np.zeros(len(row.choices))
        losses[np.arange(len(losses)) if batch.order is None else np.array(batch.order)] = learner.measure(batch)[1][
            "loss"
        ]
        for place, choice, loss in zip(row.choices.indexes, row.choices.offered(), losses, strict=True):
            found[kind_of(choice, prompter.tokenizer.decode(list(row.target[:place])))].append(float(loss))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="tiny")
    parser.add_argument("--adapter-path", type=Path)
    parser.add_argument("--data", default="phrasing", help="a suite, or a file of problems with traces")
    parser.add_argument("-n", type=int, default=40, help="how many problems (default %(default)s)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    base, prompt = load_base(options.model), Prompt(trace_form="name_first")
    if options.adapter_path is not None:
        load_adapter(base, options.adapter_path, any_base=True)
        prompt = read_adapter_config(options.adapter_path).prompt or prompt
    base.network.eval()
    found = losses_by_kind(base, Prompter(base.tokenizer, prompt), suite(options.data, options.n))
    deciding = [loss for kind, losses in found.items() if "spelled" not in kind for loss in losses]
    rows = {"all": [loss for losses in found.values() for loss in losses], "what decides": deciding, **found}
    if options.json:
        print(json.dumps({kind: {"n": len(losses), "mean": float(np.mean(losses))} for kind, losses in rows.items()}))
        return
    total = sum(rows["all"])
    print(f"{'':<24} {'choices':>8} {'mean loss':>10} {'of the loss':>12}")
    for kind, losses in sorted(rows.items(), key=lambda item: -sum(item[1])):
        print(f"{kind:<24} {len(losses):>8,} {np.mean(losses):>10.3f} {sum(losses) / total:>12.1%}")


if __name__ == "__main__":
    main()
