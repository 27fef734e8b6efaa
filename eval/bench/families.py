"""Does the constraint hold what a model is taught, in every family of tokenizers? Gold traces and random walks, all.

    python eval/bench/families.py TRAIN.jsonl [TOKENIZER_FOLDER ...] [--every N]

TRAIN.jsonl is GSM-8K's training split; folders are those of real models' tokenizers. With --every, only one gold trace
and one walk of so many are taken.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from random import Random

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from mlx_trace.decode.grammar.automaton import Automaton
from mlx_trace.decode.grammar.follow import follow
from mlx_trace.decode.grammar.vocabulary import Vocabulary
from mlx_trace.language.knowledge import grounded_numbers
from mlx_trace.language.syntax import Trace, parse
from mlx_trace.problems.compile.compiler import Compiled, compile_row
from mlx_trace.problems.synthetic.generator import draw
from mlx_trace.problems.synthetic.schema import load_schemas
from tests.decode.grammar import families

END = "\n```"
WALKS = 2000


def golds(train: Path) -> list[tuple[str, tuple[str, ...]]]:
    """Return the traces of every schema, of 500 compositions and of every grounded row, each with its numbers."""
    schemas = list(load_schemas().values())
    composed = [schema for schema in schemas if schema.expert == "composition"]
    drawn = [draw(schema, 11, 0) for schema in schemas]
    drawn += [draw(composed[number % len(composed)], 12, number) for number in range(500)]
    rows = (json.loads(line) for line in train.read_text(encoding="utf-8").splitlines())
    outcomes = [compile_row(row, str(at)) for at, row in enumerate(rows)]
    drawn += [outcome.problem for outcome in outcomes if isinstance(outcome, Compiled) and outcome.grounded]
    return [(problem.trace or "", grounded_numbers(problem.question)) for problem in drawn]


def walk(words: Vocabulary, numbers: tuple[str, ...] | None, rng: Random) -> list[int]:
    """Choose at random to the end."""
    automaton = Automaton(words, numbers, 400)
    while (choice := automaton.choice) is not None:
        from_mask = choice.mask is not None and (not choice.ids or rng.random() < 0.7)
        options = np.flatnonzero(words.mask(choice.mask)) if from_mask and choice.mask else choice.ids
        automaton.take(int(rng.choice(options)))
    return automaton.ids


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path, help="GSM-8K's training rows")
    parser.add_argument("folders", type=Path, nargs="*", help="tokenizers of real models")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take one of so many (default 1: all)")
    options = parser.parse_args()
    from transformers import PreTrainedTokenizerFast

    everything, walks = golds(options.train)[:: options.every], WALKS // options.every
    named = {name: families.trained(name) for name in families.NAMES}
    named |= {folder.name: PreTrainedTokenizerFast.from_pretrained(folder) for folder in options.folders}
    for name, tokenizer in named.items():
        began = time.perf_counter()
        words, rust = Vocabulary(tokenizer), tokenizer.backend_tokenizer
        before = len(rust.encode("\n", add_special_tokens=False).ids)
        same = offered = sound = chosen = written = 0
        for gold, numbers in everything:
            ids = words.word(gold + END)
            same += list(ids) == rust.encode("\n" + gold + END, add_special_tokens=False).ids[before:]
            far, choices = follow(Automaton(words, numbers, 2000), words, ids)
            offered += far == len(ids)
            written, chosen = written + far, chosen + choices
        for seed in range(walks):
            ids = walk(words, everything[seed % len(everything)][1] if seed % 2 else None, Random(seed))
            sound += isinstance(parse(rust.decode(ids, skip_special_tokens=False)), Trace)
        print(
            f"{name:<15} golds offered {offered:,} of {len(everything):,}, tokenized as plain text {same:,}; "
            f"choices {chosen / written:.1%} of their tokens; walks parsed {sound:,} of {walks:,}; "
            f"{time.perf_counter() - began:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
