"""What several commands' options share: checked numbers, and naming a model with its adapter."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

from mlx_trace.api.loading import ModelChoice, load_chosen
from mlx_trace.config import DTYPE, MODEL, SEEDS, STRATA_KEY, VOTING_TEMPERATURE, Dtype, Prompt
from mlx_trace.config_decoding import RULES, Decoding, read_rules
from mlx_trace.config_reinforce import MAX_TOKENS
from mlx_trace.config_sources import HOTTEST, MOST, MOST_SAMPLES
from mlx_trace.errors import UserError

if TYPE_CHECKING:
    from mlx_trace.decode.params import SamplingParams
    from mlx_trace.model.base import Base

_VOTING: Final = (
    "replies to a question; several vote: the answer is the one with the most weight, a vote weighing the share of the "
    "question's numbers that its trace uses; of equals the one more say, then the one said first"
)


FORMATS: Final = "JSONL, a JSON array, CSV, TSV, Parquet, or a data set of the hub"
ADAPTER_DEFAULT: Final = (
    "by default adapters/NAME-run or adapters/NAME of a --model NAME, here or bundled, and adapters/tiny without one"
)


def at_least(least: int, most: int = MOST) -> Callable[[str], int]:
    """Return an argparse type: a whole number from `least` to `most`."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if number < least:
            raise argparse.ArgumentTypeError(f"{number} is below {least}")
        if number > most:
            raise argparse.ArgumentTypeError(f"{number} is above {most:,}")
        return number

    return read


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add --model, --adapter-path and what goes with them."""
    parser.add_argument("--model", metavar="M", help=f"{MODEL}; by default the adapter's base")
    parser.add_argument("--adapter-path", type=Path, metavar="RUN",
                        help="a run's directory, any mlx-lm adapter, or the word none for the model as it is; "
                             + ADAPTER_DEFAULT)  # fmt: skip
    parser.add_argument("--dtype", choices=get_args(Dtype), default="auto", help=f"{DTYPE} (default %(default)s)")
    parser.add_argument("--any-base", action="store_true", help="load the adapter even if its base was another one")
    parser.add_argument("--trust-remote-code", action="store_true", help="allow code that comes with the model")


def add_strata_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--by", choices=tuple(STRATA_KEY), default="expert",
                        help="count apart by the expert (default), the gold trace's steps, the question's length, its "
                             "kinds of numbers, or where problems come from")  # fmt: skip


def add_field_option(parser: argparse.ArgumentParser) -> None:
    """Add --field: which field of a file is which."""
    parser.add_argument("--field", nargs="+", action="extend", default=[], metavar="OURS=THEIRS",
                        help="what the file calls its question, answer, solution or trace, as question=Body "
                             "answer=Answer; A+B joins two; the names of known data sets need none")  # fmt: skip


def add_schema_options(parser: argparse.ArgumentParser) -> None:
    """Add --schema, --schemas-dir and --seed."""
    which = "a family: its name, expert/name, or an expert for all of its; may be repeated"
    parser.add_argument("--schema", action="append", default=[], metavar="NAME", help=which)
    parser.add_argument(
        "--schemas-dir",
        type=Path,
        metavar="DIR",
        help="a directory of families of your own, instead of those that come along",
    )
    add_seed_option(parser)


def add_seed_option(parser: argparse.ArgumentParser) -> None:
    """Add --seed."""
    parser.add_argument("--seed", type=at_least(0, SEEDS - 1), default=0, metavar="N",
                        help="of everything random (default %(default)s)")  # fmt: skip


def add_decoding_options(parser: argparse.ArgumentParser) -> None:
    """Add --max-tokens, --constraint, --grounding, --rules and --max-tokens-per-pass.

    All rules hold where a model is asked; a run samples without, unless its configuration says otherwise.
    """
    default = Decoding(rules="all")
    meaning = {name: f"{field.description} (default {getattr(default, name)})"
               for name, field in Decoding.model_fields.items()}  # fmt: skip
    parser.add_argument("--max-tokens", type=at_least(1), default=MAX_TOKENS, metavar="N",
                        help="longest reply, in tokens (default %(default)s)")  # fmt: skip
    parser.add_argument("--constraint", choices=("none", "scope"), default=default.constraint,
                        help=meaning["constraint"])  # fmt: skip
    parser.add_argument("--grounding", choices=("off", "hard"), default=default.grounding, help=meaning["grounding"])
    parser.add_argument("--rules", type=_rules, default=default.rules, metavar="off|all|RULE,…", help=meaning["rules"])
    parser.add_argument("--max-tokens-per-pass", type=_auto_or_count, default=default.max_tokens_per_pass,
                        metavar="auto|probe|N", help=meaning["max_tokens_per_pass"])  # fmt: skip
    parser.add_argument(
        "--cap", dest="max_tokens_per_pass", type=_auto_or_count, default=argparse.SUPPRESS, help=argparse.SUPPRESS
    )  # fmt: skip  (what it was called)


def add_sampling_options(parser: argparse.ArgumentParser, meaning: str = _VOTING) -> None:
    """Add --samples, which mean voting unless it is said what, --temperature and --seed."""
    parser.add_argument("--samples", type=at_least(1, MOST_SAMPLES), default=1, metavar="K",
                        help=f"{meaning} (default %(default)s)")  # fmt: skip
    parser.add_argument(
        "--temperature",
        type=_temperature,
        metavar="T",
        help=f"of sampling; 0, which is greedy, unless given, or {VOTING_TEMPERATURE} where there are several replies",
    )
    parser.add_argument("--seed", type=at_least(0, SEEDS - 1), metavar="N", help="of everything random; 0 unless given")


def _temperature(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= HOTTEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to {HOTTEST:.0f}")
    return value


def sampling_of(options: argparse.Namespace, seeds_problems: bool = False) -> "SamplingParams":
    """Return how replies are sampled; UserError where options contradict each other.

    `seeds_problems` tells that the seed is of something else, too: of which problems are asked.
    """
    from mlx_trace.decode.params import SamplingParams

    temperature = options.temperature
    if temperature is None:
        temperature = VOTING_TEMPERATURE if options.samples > 1 else 0.0
    if temperature == 0 and options.samples > 1:
        raise UserError(f"--samples {options.samples}: at temperature 0 all replies are one; "
                        f"--temperature {VOTING_TEMPERATURE} is the default")  # fmt: skip
    if temperature == 0 and options.seed is not None and not seeds_problems:
        raise UserError(f"--seed {options.seed}: at temperature 0 nothing is sampled; --temperature T or --samples K")
    return SamplingParams(options.max_tokens, temperature, options.samples, options.seed or 0)


def _auto_or_count(text: str) -> str | int:
    return text if text in ("auto", "probe") else at_least(1)(text)


def _rules(text: str) -> str | list[str]:
    try:
        rules: str | list[str] = read_rules(text)
    except ValueError:
        message = f"{text!r} is neither off nor all, nor some of {', '.join(RULES)}"
        raise argparse.ArgumentTypeError(message) from None
    return rules


def decoding_of(options: argparse.Namespace) -> Decoding:
    """Return the decoding settings that the options give."""
    return Decoding(constraint=options.constraint, grounding=options.grounding, rules=options.rules,
                    max_tokens_per_pass=options.max_tokens_per_pass)  # fmt: skip


def load_named(options: argparse.Namespace) -> "tuple[Base, Prompt]":
    """Load the model that the options name, with its adapter, and the prompt settings it was trained with.

    The options then hold the adapter that was settled on.
    """
    choice = ModelChoice(options.model, options.adapter_path, options.dtype, options.any_base,
                         options.trust_remote_code)  # fmt: skip
    base, prompt, options.adapter_path = load_chosen(choice)
    return base, prompt
