"""Rules on what a trace may say beyond its grammar: which of a choice's options stand, as the steps so far have run.

Takes the rules asked for, a question, and each step once it has run. No rule ends a walk: where none of the options
stands, the automaton offers all of them. Knows nothing of tokens.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache, partial
from itertools import product as ways_of
from math import prod
from typing import Any, Final

from mlx_trace.config_decoding import Rule
from mlx_trace.decode.grammar.saying import Saying
from mlx_trace.language.experts import Scope
from mlx_trace.language.knowledge import called_numbers, may_be_fraction, may_be_negative
from mlx_trace.language.measures import ANY, NUMBER, Measures, asked, computed, counts_per_money, measures
from mlx_trace.language.mentions import Mention, find_numbers
from mlx_trace.language.numbers import spell
from mlx_trace.language.steps import COMPUTE_OPS

_MOST_WAYS: Final = 16  # of reading a question's mentions that are told apart
_TAKING: Final = ("consume", "transfer")  # ops that take an amount away from what they name first
Stands = Callable[[Any], bool]  # whether an option may stand


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules that hold for the trace of one question, and how often the question lets each number be taken.

    A mention is read by its value (half: 1/2), or by what else it says (2), each once; `supplies` has what every choice
    of those makes, and one more of what a word calls for. None: no rule on numbers. `measures` has what each number
    that is stated may be measured in, `asked` what the answer may be; `counts_per_money`: some number is things for
    each dollar, so that nothing is known of products.
    """

    names: frozenset[Rule]
    supplies: tuple[Mapping[str, int], ...] | None = None
    others: int = 1  # how often a number may be taken that is neither stated nor called for
    measures: Mapping[str, Measures] = field(default_factory=dict)
    asked: Measures = ANY
    counts_per_money: bool = False


@lru_cache(maxsize=1024)
def rules_for(question: str, names: frozenset[Rule]) -> Rules | None:
    """Return the rules that are asked for, as they are for a question; None where none is.

    A question that states no number calls for any; one of debts may go below zero, one of shares or prices below one.
    """
    if not names:
        return None
    mentions = find_numbers(question)
    called = Counter(map(spell, called_numbers(question)))
    if may_be_negative(question):
        names -= {"no_negative"}
    if may_be_fraction(question):
        names -= {"no_fraction"}
    is_called = "called_constants" in names and bool(mentions)
    supplies, others = tuple(_supplies(mentions, called)), 0 if is_called else 1
    if not names & {"no_mixing", "as_asked"}:
        return Rules(names, supplies, others)
    return Rules(names, supplies, others, measures(question), asked(question), counts_per_money(question))


def _supplies(mentions: Sequence[Mention], called: Counter[str]) -> Iterator[Counter[str]]:
    """Yield how often each number may be taken, for every choice of how the mentions are read."""
    ways = [[[mention.value], [*{*mention.also}]] if mention.also else [[mention.value]] for mention in mentions]
    if prod(map(len, ways)) > _MOST_WAYS:
        ways = [[list({*mention.readings})] for mention in mentions]  # then each may be read in all of its ways
    for readings in ways_of(*ways):
        yield called + Counter(spell(number) for own in readings for number in own)


class PartRules:
    """What one part has taken, made and used so far, and which options its rules leave. Tell it each step by `note`.

    `is_whole`: it is all of the trace, so that its answer is what was asked for.
    """

    def __init__(self, rules: Rules, scope: Scope, numbers: Sequence[str] | None, is_whole: bool) -> None:
        self._rules, self._scope, self._numbers, self._is_whole = rules, scope, numbers, is_whole
        self._taken: Counter[str] = Counter()
        self._supplies = rules.supplies or ()
        self._done: set[tuple[Any, ...]] = set()  # computations, with the values of their operands
        self._unused: set[str] = set()  # defined, and not read since
        self._latest: set[str] = set()  # computed or changed, and not read since
        self._measures: dict[str, Measures] = {}  # of variables, where they are known
        self.said = Saying(scope.values, numbers, "as_said" in rules.names)

    def note(self, op: str, fields: Mapping[str, Any]) -> None:
        """Take down a step; its operands' values are still those from before it."""
        match op:
            case "compute":
                read = fields["args"]
                self._done.add(self._key(fields["compute_op"], read))
            case "consume" | "add_entity" | "transfer" | "init":
                amount = fields.get("value", fields.get("amount", ""))
                self._take(amount)
                read = [amount]
            case "query":
                return
            case _:
                read = [fields["base"], fields["rate"]]
                self._done.add(self._key(op, read))
        self._note_measure(op, fields)
        changed = {fields[key] for key in ("entity", "from", "to") if key in fields}
        self._unused.difference_update(read, changed)
        self._latest.difference_update(read)
        self._latest |= changed
        if "var" in fields:
            self._unused.add(fields["var"])
            self._latest |= {fields["var"]} if op != "init" else set()
        self.said.note(op, fields)

    # --- which options stand -----------------------------------------------------------------------------------

    def of_field(self, kind: str, key: str, pairs: Sequence[tuple[str, Any]]) -> Stands | None:
        """Return which options stand in a field, after the (key, value) pairs of the step so far; None for all."""
        op, last = pairs[0][1], pairs[-1][1]
        match kind, key:
            case "operation", _:
                return self.lets_operation
            case "variable", "base":
                return partial(self.lets_base, op)
            case "variable", "rate":
                return partial(self.lets_rate, op, last)
            case "variable", "entity" | "from" if op in _TAKING:
                return partial(self.lets_entity, op)
            case "derived", _:
                return self.lets_query
            case "value", _:
                return lambda pair: pair[0] == "source" or self.lets_given(pair[1])
            case "amount", _:
                return lambda pair: self.lets_amount(op, pairs[1][1], pair[1])
            case _:
                return None

    def lets_op(self, op: str) -> bool:
        """Tell whether a step of `op` may come next: whether the rules leave something to say in it."""
        if op != "query" and not self.said.lets_op(op):
            return False
        match op:
            case "init":
                return bool(self._scope.answers or any(map(self.lets_given, self._numbers_left())))
            case "compute":
                return any(map(self.lets_operation, COMPUTE_OPS))
            case "query":
                return any(map(self.lets_query, self._scope.derived))
            case "consume" | "transfer":
                return any(self.lets_entity(op, name) for name in self._scope.values)
            case "percent_of" | "percent_off" | "percent_increase":
                return any(self.lets_base(op, name) for name in self._scope.values)
            case _:  # add_entity, and what no rule knows
                return True

    def lets_comment(self, ops: Collection[str], chosen: str) -> bool:
        """Tell whether a comment, before one of some ops, or the query may come next: no comment again and again."""
        if "no_repeat" in self._rules.names and self.said.is_circling:
            return chosen == "query"
        return any(map(self.lets_op, ops)) if chosen == "comment" else self.lets_op(chosen)

    def lets_operation(self, operation: str) -> bool:
        """Tell whether some operands may stand with `operation`."""
        if not self.said.lets_operation(operation):
            return False
        return any(self.lets_first(operation, name) for name in self._scope.values)

    def lets_first(self, operation: str, name: str) -> bool:
        """Tell whether some second operand may stand with a first one."""
        if not self.said.lets_args(operation, (name,), False):
            return False
        seconds = self._scope.values
        return operation in ("add", "mul") or any(self.lets_args(operation, (name, second)) for second in seconds)

    def lets_arg(self, operation: str, args: Sequence[str], ending: tuple[str, bool]) -> bool:
        """Tell whether an operand (its name, and whether it is the last) may follow others."""
        name, is_last = ending
        if not self.said.lets_args(operation, (*args, name), is_last):
            return False
        return self.lets_args(operation, (*args, name)) if is_last else self._is_alike(operation, (*args, name))

    def lets_args(self, operation: str, args: Sequence[str]) -> bool:
        """Tell whether a computation with just these operands may stand."""
        values = self._scope.values
        if operation in ("sub", "div") and "no_self" in self._rules.names and args[0] == args[1]:
            return False
        if operation == "sub" and "no_negative" in self._rules.names and values[args[0]] < values[args[1]]:
            return False
        if operation == "div" and "no_fraction" in self._rules.names and 0 < values[args[0]] < values[args[1]]:
            return False
        return self._is_alike(operation, args) and self._is_new(operation, args)

    def lets_base(self, op: str, base: str) -> bool:
        """Tell whether some rate may stand with a base."""
        return any(self.lets_rate(op, base, rate) for rate in self._scope.values)

    def lets_rate(self, op: str, base: str, rate: str) -> bool:
        """Tell whether a percentage may stand: of itself it is none, and more than all cannot be taken off."""
        if not self.said.lets_rate(op, base, rate) or ("no_self" in self._rules.names and base == rate):
            return False
        if op == "percent_off" and "no_negative" in self._rules.names and self._scope.values[rate] > 100:
            return False
        return self._is_new(op, (base, rate))

    def lets_entity(self, op: str, entity: str) -> bool:
        """Tell whether some amount may be taken from an entity."""
        amounts = (*self._scope.values, *self._numbers_left())
        return any(self.lets_amount(op, entity, amount) for amount in amounts)

    def lets_amount(self, op: str, entity: str, amount: str) -> bool:
        """Tell whether an amount, a variable's or a number, may be taken from an entity, or given to it."""
        if not self.said.lets_amount(amount):
            return False
        is_number = amount not in self._scope.values
        if is_number and not self.lets_number(amount):
            return False
        if op in _TAKING and "no_self" in self._rules.names and amount == entity:
            return False
        if not self._is_alike("sub", (entity, amount)):
            return False
        if "no_negative" not in self._rules.names or (is_number and self._numbers is None):
            return True
        value = Fraction(amount) if is_number else self._scope.values[amount]
        return value >= 0 and (op not in _TAKING or value <= self._scope.values[entity])

    def lets_given(self, number: str) -> bool:
        """Tell whether a variable may be given a number: as was said, and as often as it may be taken."""
        return self.said.lets_number(number) and self.lets_number(number)

    def lets_number(self, number: str) -> bool:
        """Tell whether a number may be taken once more; one that the model spells itself always may."""
        if self._numbers is None or self._rules.supplies is None:
            return True
        taken = self._taken[number] if "once" in self._rules.names else 0
        return any(supply.get(number, self._rules.others) > taken for supply in self._supplies)

    def _take(self, number: str) -> None:
        """Note that a number was taken, and which readings of the mentions are left that allow for it."""
        self._taken[number] += 1
        if "once" in self._rules.names:
            taken = self._taken[number]
            left = tuple(supply for supply in self._supplies if supply.get(number, self._rules.others) >= taken)
            self._supplies = left or self._supplies

    def lets_query(self, name: str) -> bool:
        """Tell whether the answer may be `name`: as is asked, all else was used, and nothing has read it since."""
        if "as_asked" in self._rules.names and not self._is_asked(name):
            return False
        return "all_used" not in self._rules.names or (name in self._latest and self._unused <= {name})

    # --- measures ----------------------------------------------------------------------------------------------

    def _is_asked(self, name: str) -> bool:
        """Tell whether a variable may be measured in what is asked for, which is known of a part that is all."""
        measure = self._measures.get(name, NUMBER)
        return not self._is_whole or measure == NUMBER or bool(measure & self._rules.asked)

    def _is_alike(self, operation: str, operands: Sequence[str]) -> bool:
        """Tell whether operands go together: no money with hours in a sum, or with money in a product."""
        return "no_mixing" not in self._rules.names or self._computed(operation, operands) != frozenset()

    def _computed(self, operation: str, operands: Iterable[str]) -> Measures | None:
        """Return what a computation of operands, variables or numbers, may be measured in; None if it is unknown."""
        return computed(operation, map(self._measure, operands), not self._rules.counts_per_money)

    def _measure(self, operand: str) -> Measures | None:
        """Return what a variable or a number may be measured in; None of a variable of which nothing is known."""
        if operand in self._scope.values:
            return self._measures.get(operand)
        return self._rules.measures.get(operand, NUMBER)

    def _note_measure(self, op: str, fields: Mapping[str, Any]) -> None:
        """Note what a step's variable is measured in, if it can be known."""
        match op:
            case "compute":
                measure = self._computed(fields["compute_op"], fields["args"])
            case "init":
                measure = self._measure(fields["value"]) if "value" in fields else None
            case "transfer":
                measure = self._computed("sub", [fields["from"], fields["amount"]])
            case _:
                measure = self._measure(fields["base"]) if "base" in fields else None
        name = fields.get("var", fields.get("to"))
        if name is not None and measure:
            self._measures[name] = measure

    def _numbers_left(self) -> list[str]:
        return list(filter(self.lets_number, ("1",) if self._numbers is None else self._numbers))

    def _is_new(self, op: str, operands: Collection[str]) -> bool:
        return "no_repeat" not in self._rules.names or self._key(op, operands) not in self._done

    def _key(self, op: str, operands: Collection[str]) -> tuple[Any, ...]:
        """Return what a computation is known by; operands whose order does not matter are sorted."""
        ordered = sorted(operands) if op in ("add", "mul") else operands
        return op, *((name, self._scope.values[name]) for name in ordered)
