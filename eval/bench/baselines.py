"""What a trace is worth: the same questions asked of a base with worked examples, as prose, and of a trained adapter.

    python eval/bench/baselines.py MODEL [--data everyday|FILE] [-n 30] [--shots 4] [--adapter-path RUN] [--prose RUN]
    python eval/bench/baselines.py --write-prose ROWS FOLDER      # for mlx_lm.lora --data FOLDER --mask-prompt

Rows: the base untrained, as prose and, with examples in the prompt, as traces, held to the scope and free; the adapter,
both ways; an adapter that stock mlx_lm.lora trained on ROWS' worked solutions, decoded by stock mlx_lm. Prose answers
with the number after ####, else its last. Greedy; shares with 95% Wilson intervals. With --json, one object.
"""

import argparse
import json
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from mlx_trace.config import Prompt
from mlx_trace.config_decoding import Decoding
from mlx_trace.evaluate.evaluate import evaluate
from mlx_trace.evaluate.stats import Rate
from mlx_trace.evaluate.suites import suite
from mlx_trace.language.grade import TOLERANCE
from mlx_trace.language.numbers import read_numeral
from mlx_trace.model.adapter import load_adapter, read_adapter_config
from mlx_trace.model.base import load_base
from mlx_trace.model.prompts import CLOSING, OPENING, Prompter
from mlx_trace.problems.fields import GOLD_MARK
from mlx_trace.problems.forms import in_form
from mlx_trace.problems.mixture import mix, source_of
from mlx_trace.problems.problem import Problem
from mlx_trace.problems.rows import read_rows
from mlx_trace.problems.synthetic.generator import draw
from mlx_trace.problems.synthetic.schema import load_schemas

SHOWN: Final = (
    "entity_track/one_loss", "percentage/percent_off", "arithmetic/multi_item_cost", "rate_equation/rate_found"
)  # fmt: skip
NUMBER: Final = re.compile(r"(?<![\d)])-?\d[\d,]*(?:\.\d+)?(?:/\d+)?")
FORM: Final = "name_first"
REQUEST: Final = f"\nReason step by step, and end with {GOLD_MARK} and the number."


class WithExamples(Prompter):
    """A prompter whose conversation begins with worked examples."""

    def __init__(self, tokenizer: Any, prompt: Prompt, examples: Sequence[tuple[str, str]]) -> None:
        self.examples = examples
        super().__init__(tokenizer, prompt)

    def _render(self, messages: list[dict[str, str]]) -> str:
        turns = [
            {"role": role, "content": content}
            for question, trace in self.examples
            for role, content in (("user", question), ("assistant", f"{OPENING}{trace}{CLOSING}"))
        ]
        system = [message for message in messages if message["role"] == "system"]
        return super()._render([*system, *turns, *messages[len(system) :]])


def examples(count: int) -> list[tuple[str, str]]:
    """Return questions of our families with their gold traces."""
    schemas = load_schemas()
    drawn = [draw(schemas[name], 5, 0) for name in SHOWN[:count]]
    return [(problem.question, in_form(problem, FORM) or "") for problem in drawn]


def said(text: str) -> Fraction | None:
    """Return the number that prose gives as its answer."""
    numbers = NUMBER.findall(text.rpartition(GOLD_MARK)[2]) or NUMBER.findall(text)
    return read_numeral(numbers[-1].replace(",", "")) if numbers else None


def prose(model: Any, tokenizer: Any, asked: list[list[int]], problems: Sequence[Problem], max_tokens: int) -> Rate:
    """Return how many of the answers that stock mlx_lm gives to prompts are right."""
    from mlx_lm import batch_generate

    texts = batch_generate(model, tokenizer, asked, max_tokens=max_tokens).texts
    right = [number is not None and problem.expected is not None and abs(number - problem.expected) < TOLERANCE
             for problem, number in zip(problems, map(said, texts), strict=True)]  # fmt: skip
    return Rate(sum(right), len(problems))


def write_prose(rows: Path, folder: Path) -> None:
    """Write the rows that training takes as conversations, each solution as it stands but for its <<annotations>>."""
    kept = {problem.question for problem in mix([source_of(rows)], 0).problems}
    folder.mkdir(parents=True, exist_ok=True)
    told = [(row["question"], re.sub(r"<<[^>]*>>", "", row["answer"])) for _, row, _ in read_rows(rows) if row]
    lines = [json.dumps({"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]})
             for question, answer in told if question in kept]  # fmt: skip
    for name, part in {"train": lines, "valid": lines[:8]}.items():
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in part), encoding="utf-8")
    print(f"{folder}: {len(lines):,} conversations")


def measured(options: argparse.Namespace) -> dict[str, Rate]:
    """Return each way of asking with how many are right."""
    problems = suite(options.data, options.n)
    free, held = Decoding(constraint="none"), Decoding(rules=options.rules)
    shares: dict[str, Rate] = {}

    def ask(name: str, base: Any, prompter: Prompter) -> None:
        for way, decoding in (("in scope", held), ("free", free)):
            records = evaluate(base, prompter, problems, options.max_tokens, decoding, 16)
            shares[f"{name}, {way}"] = Rate(sum(record.correct for record in records), len(records))

    base = load_base(options.model)
    asked = Prompter(base.tokenizer, Prompt(system="")).many_ids([f"{each.question}{REQUEST}" for each in problems])
    shares["untrained, prose"] = prose(base.network, base.tokenizer, asked, problems, options.max_tokens)
    ask(f"untrained, {options.shots} examples", base,
        WithExamples(base.tokenizer, Prompt(trace_form=FORM), examples(options.shots)))  # fmt: skip
    if options.adapter_path is not None:
        load_adapter(base, options.adapter_path, any_base=True)
        prompt = read_adapter_config(options.adapter_path).prompt or Prompt()
        ask("adapter", base, Prompter(base.tokenizer, prompt))
    if options.prose is not None:
        from mlx_lm import load

        model, tokenizer, *_ = load(str(base.path), adapter_path=str(options.prose))
        asked = [tokenizer.apply_chat_template([{"role": "user", "content": each.question}], add_generation_prompt=True)
                 for each in problems]  # fmt: skip
        shares["prose"] = prose(model, tokenizer, asked, problems, options.max_tokens)
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="smollm2-135m")
    parser.add_argument("--data", default="everyday", help="a suite, or a file")
    parser.add_argument("-n", type=int, help="how many (default all)")
    parser.add_argument("--shots", type=int, default=len(SHOWN), choices=range(1, len(SHOWN) + 1))
    parser.add_argument("--adapter-path", type=Path)
    parser.add_argument("--prose", type=Path, help="an adapter of mlx_lm.lora")
    parser.add_argument("--rules", default="all", choices=["off", "all"])
    parser.add_argument("--max-tokens", type=int, default=300)
    parser.add_argument("--write-prose", type=Path, nargs=2, metavar=("ROWS", "FOLDER"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.write_prose:
        write_prose(*options.write_prose)
        return
    shares = measured(options)
    if options.json:
        print(json.dumps({name: {"count": rate.count, "n": rate.n, "interval": rate.interval}
                          for name, rate in shares.items()}))  # fmt: skip
    else:
        print("\n".join(f"{name:32} {rate}" for name, rate in shares.items()))


if __name__ == "__main__":
    main()
