"""What each rule is worth to an adapter: right answers gained and lost by it alone, and by leaving it out of all.

    python eval/bench/rule_gains.py MODEL --adapter-path RUN [--data everyday phrasing FILE …] [-n 200] [--json]

Greedy, under scope and hard grounding. A reply that rules let through is what the model says under them too, so that
few problems are asked more than once. What a rule forbids of gold traces: rules.py.
"""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mlx_trace.config import Prompt
from mlx_trace.config_decoding import RULES, Decoding, Rule
from mlx_trace.decode.grammar.follow import can_write
from mlx_trace.decode.grammar.vocabulary import vocabulary_of
from mlx_trace.evaluate.compared import Comparison, compare_counts
from mlx_trace.evaluate.evaluate import evaluate
from mlx_trace.evaluate.record import Record
from mlx_trace.evaluate.stats import Rate
from mlx_trace.evaluate.suites import suite
from mlx_trace.model.adapter import load_adapter, read_adapter_config
from mlx_trace.model.base import load_base
from mlx_trace.model.prompts import CLOSING, Prompter
from mlx_trace.problems.problem import Problem

Names = frozenset[Rule]
ALL: Final[Names] = frozenset(RULES)
NONE: Final[Names] = frozenset()


class Asked:
    """Problems, and the replies to each that are known, with the rules that they were written under."""

    def __init__(self, base: Any, prompter: Prompter, problems: Sequence[Problem], max_tokens: int) -> None:
        self.base, self.prompter, self.problems, self.max_tokens = base, prompter, problems, max_tokens
        self.words = vocabulary_of(base.tokenizer)
        self.known: list[dict[Names, Record]] = [{} for _ in problems]
        self.decoded = 0

    def right(self, names: Names) -> list[bool]:
        """Return which problems are right under some rules."""
        missing = []
        for index, known in enumerate(self.known):
            same = (record for under, record in known.items() if under <= names and self._lets(record, names))
            if (record := next(same, None)) is None:
                missing.append(index)
            else:
                known[names] = record
        decoding = Decoding(rules=[rule for rule in RULES if rule in names])
        asked = [self.problems[index] for index in missing]
        for index, record in zip(missing, self._ask(asked, decoding), strict=True):
            self.known[index][names] = record
        self.decoded += len(missing)
        return [known[names].correct for known in self.known]

    def _ask(self, problems: Sequence[Problem], decoding: Decoding) -> Iterable[Record]:
        return evaluate(self.base, self.prompter, problems, self.max_tokens, decoding, 16) if problems else ()

    def _lets(self, record: Record, names: Names) -> bool:
        """Tell whether a reply can be written under some rules as it is."""
        ids = self.words.word(record.output + CLOSING * (not record.truncated))
        form = self.prompter.prompt.trace_form
        return can_write(self.words, record.problem.question, ids, names, form, room=self.max_tokens)


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Return the shares right without rules and with all, and what each rule changes of either."""
    base = load_base(options.model)
    load_adapter(base, options.adapter_path, any_base=True)
    prompter = Prompter(base.tokenizer, read_adapter_config(options.adapter_path).prompt or Prompt())
    problems = [problem for data in options.data for problem in suite(data, options.n)]
    asked = Asked(base, prompter, problems, options.max_tokens)
    off = asked.right(NONE)
    alone = {rule: compare_counts(off, asked.right(frozenset([rule]))) for rule in RULES}
    others = {rule: asked.right(ALL - {rule}) for rule in RULES}
    held = asked.right(ALL)
    last = {rule: compare_counts(right, held) for rule, right in others.items()}
    return {
        "off": Rate(sum(off), len(off)), "all": Rate(sum(held), len(held)), "off to all": compare_counts(off, held),
        "alone": alone, "last": last, "decoded": asked.decoded,
    }  # fmt: skip


def told(comparison: Comparison) -> str:
    """Return how many are gained and lost, and the exact McNemar test's p where there are any."""
    gained, lost, p = comparison.gained, comparison.lost, comparison.p
    return f"+{gained} -{lost}" + (f", p = {p:.2g}" if gained or lost else "")


def as_json(value: Any) -> Any:
    """Return rates and comparisons, at any depth, as JSON has them."""
    if isinstance(value, Mapping):
        return {name: as_json(one) for name, one in value.items()}
    return value.as_json() if isinstance(value, Rate | Comparison) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="smollm2-135m")
    parser.add_argument("--adapter-path", type=Path, required=True)
    parser.add_argument("--data", nargs="+", default=["everyday"], help="suites and files")
    parser.add_argument("-n", type=int, help="how many of each (default all)")
    parser.add_argument("--max-tokens", type=int, default=400)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measured(options)
    if options.json:
        print(json.dumps(as_json(figures)))
        return
    print(f"without rules {figures['off']}; with all {figures['all']}: {told(figures['off to all'])}")
    print(f"{figures['decoded']} replies decoded")
    print(f"{'':18}{'alone':24}added to the others")
    for rule in RULES:
        print(f"{rule:18}{told(figures['alone'][rule]):24}{told(figures['last'][rule])}")


if __name__ == "__main__":
    main()
