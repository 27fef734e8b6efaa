"""The ways in which an evaluation asks: the one that its options name, and those that it is measured against."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mlx_trace.cli.options import decoding_of, sampling_of
from mlx_trace.config_decoding import RULES, Decoding
from mlx_trace.errors import UserError
from mlx_trace.evaluate.suites import SUITES

if TYPE_CHECKING:
    from mlx_trace.decode.params import SamplingParams
    from mlx_trace.evaluate.way import ReplyWay

AGAINST: Final = {
    "free": "the same without a constraint",
    "no-rules": "the same without rules",
    "greedy": "one greedy reply, no vote and no repair",
    "no-examples": "the same without the examples of --examples-from",
}


@dataclass(frozen=True, slots=True)
class AskedWay:
    """A way to ask, with its name, "" of the one that the options name, and whether examples stand before it."""

    name: str
    way: "ReplyWay"
    has_examples: bool

    def __str__(self) -> str:
        params = self.way.params
        sampled = f", {describe_sampling(params)}" if params.temperature else ""
        repaired = f", up to {self.way.repair} repair{'s' * (self.way.repair > 1)}" if self.way.repair else ""
        return describe(self.way.decoding) + sampled + repaired


def ways_of(options: argparse.Namespace) -> list[AskedWay]:
    """Return the way that the options name, then those that it is compared with; UserError where one is no other."""
    from mlx_trace.evaluate.way import ReplyWay

    params = sampling_of(options, seeds_problems=options.n is not None and options.data not in SUITES)
    if options.gold_loss and (params.n > 1 or options.repair or options.against or options.examples_from):
        other = "--samples" if params.n > 1 else "--repair" if options.repair else "--against or --examples-from"
        raise UserError(f"--gold-loss reads gold traces and {other} asks for replies; give one of them")
    main = AskedWay("", ReplyWay(params, decoding_of(options), options.repair), options.examples_from is not None)
    return [main, *(_other(name, main) for name in dict.fromkeys(options.against))]


def _other(name: str, main: AskedWay) -> AskedWay:
    way, decoding = main.way, main.way.decoding
    plain = replace(way, params=replace(way.params, n=1, temperature=0.0), repair=0)
    made: dict[str, Callable[[], AskedWay]] = {
        "free": lambda: replace(main, way=replace(way, decoding=decoding.model_copy(update={"constraint": "none"}))),
        "no-rules": lambda: replace(main, way=replace(way, decoding=decoding.model_copy(update={"rules": "off"}))),
        "greedy": lambda: replace(main, way=plain),
        "no-examples": lambda: replace(main, has_examples=False),
    }
    other = made[name]()
    same_rules = name == "no-rules" and not decoding.chosen_rules
    if other == main or same_rules:
        raise UserError(f"--against {name}: that is how replies are asked for already")
    return replace(other, name=name)


def sides(main: AskedWay, other: AskedWay) -> tuple[str, str]:
    """Return what two columns are called that stand side by side."""
    params = main.way.params
    several = f"vote of {params.n}" if params.n > 1 else "repaired" if main.way.repair else "sampled"
    named = {"free": "constrained", "no-rules": "with rules", "greedy": several, "no-examples": "with examples"}
    return named[other.name], other.name.replace("-", " ")


def describe(decoding: Decoding) -> str:
    """Return what replies are held to, in a few words."""
    if decoding.constraint == "none":
        return "unconstrained"
    grounded = ", values grounded" if decoding.grounding == "hard" else ""
    rules = decoding.chosen_rules
    return f"traces in scope{grounded}" + (f", {len(rules)} of {len(RULES)} rules" if rules else "")


def describe_sampling(params: "SamplingParams") -> str:
    """Return how replies were sampled, in a few words."""
    return f"{params.n} sample{'s' if params.n > 1 else ''} at temperature {params.temperature:g}, seed {params.seed}"
