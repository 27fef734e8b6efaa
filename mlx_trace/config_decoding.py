"""What replies are held to and how they are decoded, as a configuration says; its defaults are written here alone."""

from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BeforeValidator, Field

from mlx_trace.config_sources import Section

Rule = Literal[
    "once", "called_constants", "no_self", "no_repeat", "no_negative", "no_fraction", "no_mixing", "as_asked",
    "as_computed", "as_said", "all_used",
]  # fmt: skip
RULES: Final[tuple[Rule, ...]] = get_args(Rule)


def unquoted_off(value: object) -> object:
    """Return what was meant by an unquoted off, which YAML reads as false."""
    return "off" if value is False else value


def _tokens_per_pass(value: object) -> object:
    if value in ("auto", "probe") or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError("input should be auto, probe or a whole number from 1")


def read_rules(value: object) -> Any:
    """Return off, all, or a list of rules, also from names with commas between; ValueError for anything else."""
    value = unquoted_off(value)
    named = value.split(",") if isinstance(value, str) and value not in ("off", "all") else value
    if named in ("off", "all") or (isinstance(named, list) and all(name in RULES for name in named)):
        return named
    raise ValueError(f"input should be off, all, or some of {', '.join(RULES)}")


class Decoding(Section):
    """What a reply may say, and how it is decoded; rollouts, evaluation and chat share it."""

    constraint: Literal["none", "scope"] = Field(
        "scope", description="scope: only traces that the solver can read, with names in scope; none: anything"
    )
    grounding: Annotated[Literal["off", "hard"], BeforeValidator(unquoted_off)] = Field(
        "hard", description="hard: values only from the question and common constants (under scope); off: any"
    )
    rules: Annotated[Literal["off", "all"] | list[Rule], BeforeValidator(read_rules)] = Field(
        "off",
        description="what else is not offered (under scope): off, all, or some of once (a number as often as it "
        "is stated), called_constants (others only where a word calls for them; both under hard grounding), no_self "
        "(x - x), no_repeat (a computation again), no_negative, no_fraction (less than one of what is counted), "
        "no_mixing (a sum of money, time, percent and things, money times money), as_asked (no answer in money where "
        "hours are asked for), as_computed (an equation in a comment with its own result), as_said (a step as the "
        "comment before it says), all_used (no query before all but the answer is used)",
    )
    max_tokens_per_pass: Annotated[
        Annotated[int, Field(ge=1)] | Literal["auto", "probe"], BeforeValidator(_tokens_per_pass)
    ] = Field(
        "auto",
        description="most tokens that a sequence reads in one pass; auto: by what passes usually cost, the same in "
        "every run; probe: as timed on this device, and two runs may then differ in their last bits",
    )

    @property
    def chosen_rules(self) -> frozenset[Rule]:
        """Return the rules that hold: none without a constraint, those on numbers only where numbers are grounded."""
        if self.constraint == "none" or self.rules == "off":
            return frozenset()
        rules = frozenset(RULES if self.rules == "all" else self.rules)
        return rules if self.grounding == "hard" else rules - {"once", "called_constants"}
