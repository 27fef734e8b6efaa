"""Which expert may use which op, and what each op does to the variables of a part.

An effect takes the scope and a step, changes the scope, and returns a `Fault` if the step cannot be done.
Knows nothing of text, other parts' steps, or grades.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final, NamedTuple

from mlx_trace.language.numbers import fits, spell
from mlx_trace.language.steps import (
    AddEntity,
    Compute,
    Consume,
    Init,
    InitFrom,
    Malformed,
    Operand,
    Percent,
    Query,
    Step,
    Transfer,
)

_PLAIN = ("init", "compute", "query")
EXPERTS: Final[dict[str, frozenset[str]]] = {
    "entity_track": frozenset((*_PLAIN, "consume", "add_entity", "transfer")),
    "arithmetic": frozenset(_PLAIN),
    "rate_equation": frozenset(_PLAIN),
    "comparison": frozenset(_PLAIN),
    "percentage": frozenset((*_PLAIN, "percent_of", "percent_off", "percent_increase")),
}
COMPOSITION: Final = "composition"  # how two or more parts are named where one expert is expected


class Fault(NamedTuple):
    """Why a step cannot be done."""

    kind: str
    message: str


class Scope:
    """The variables of one part. `answers` are those of the earlier parts, which only `source` may read.

    A variable is *derived* once something was computed into it; only a derived one may be queried.
    """

    __slots__ = ("answer", "answers", "derived", "values")

    def __init__(self, answers: tuple[Fraction, ...] = ()) -> None:
        self.values: dict[str, Fraction] = {}
        self.derived: set[str] = set()
        self.answers = answers
        self.answer: Fraction | None = None

    def read(self, operand: Operand) -> Fraction | Fault:
        """Return the value of a variable or a literal."""
        if isinstance(operand, str):
            value = self.values.get(operand)
            return Fault("undefined_variable", f"{operand} is not defined") if value is None else value
        return operand if fits(operand) else _too_large(operand)

    def define(self, name: str, value: Fraction, derived: bool) -> Fault | None:
        """Give a new variable its value."""
        if name in self.values:
            return Fault("redefinition", f"{name} is already defined as {spell(self.values[name])}")
        return self.put(name, value, derived)

    def put(self, name: str, value: Fraction, derived: bool) -> Fault | None:
        """Set a variable, new or not."""
        if not fits(value):
            return _too_large(value)
        self.values[name] = value
        (self.derived.add if derived else self.derived.discard)(name)
        return None


def _too_large(value: Fraction) -> Fault:
    return Fault("too_large", f"a number of {len(str(abs(value.numerator)))} digits over "
                 f"{len(str(value.denominator))} goes beyond 10^30")  # fmt: skip


def _init(scope: Scope, step: Init) -> Fault | None:
    return scope.define(step.var, step.value, derived=False)


def _init_from(scope: Scope, step: InitFrom) -> Fault | None:
    earlier = len(scope.answers)
    if earlier == 0:
        return Fault("bad_source", f"{step.source} needs an earlier part, and this is the first")
    index = earlier - 1 if step.source == "prev.result" else int(step.source[3 : -len(".result")])
    if index >= earlier:
        return Fault("bad_source", f"{step.source} is not an earlier part; those are sub0 to sub{earlier - 1}")
    return scope.define(step.var, scope.answers[index], derived=False)


_IDENTITY: Final = {"add": Fraction(0), "sub": Fraction(0), "mul": Fraction(1), "div": Fraction(1)}


def _compute(scope: Scope, step: Compute) -> Fault | None:
    numbers: list[Fraction] = []
    for operand in step.args:
        number = scope.read(operand)
        if isinstance(number, Fault):
            return number
        numbers.append(number)
    total = numbers[0]
    for operand, number in zip(step.args[1:], numbers[1:], strict=True):
        match step.compute_op:
            case "add":
                total = total + number
            case "sub":
                total = total - number
            case "mul":
                total = total * number
            case "div":
                if not number.numerator:
                    zero = "" if isinstance(operand, Fraction) else f": {operand} is 0"
                    return Fault("division_by_zero", f"division by zero{zero}")
                total = total / number
        if not fits(total):
            return _too_large(total)
    return scope.define(step.var, total, _derives(step.args, _IDENTITY[step.compute_op]))


def _derives(args: tuple[Operand, ...], identity: Fraction) -> bool:
    """Tell whether a result is computed: some argument is a variable, and no literal one leaves it as it is."""
    literals = [operand for operand in args if not isinstance(operand, str)]
    return len(literals) < len(args) and identity not in literals


_PERCENT: Final[dict[str, tuple[Fraction, Callable[[Fraction], Fraction]]]] = {
    # op: (the rate that changes nothing, the factor a rate stands for)
    "percent_of": (Fraction(100), lambda rate: rate / 100),
    "percent_off": (Fraction(0), lambda rate: 1 - rate / 100),
    "percent_increase": (Fraction(0), lambda rate: 1 + rate / 100),
}


def _percent(scope: Scope, step: Percent) -> Fault | None:
    base, rate = scope.read(step.base), scope.read(step.rate)
    if isinstance(base, Fault):
        return base
    if isinstance(rate, Fault):
        return rate
    idle, factor = _PERCENT[step.op]
    some_variable = isinstance(step.base, str) or isinstance(step.rate, str)
    return scope.define(step.var, base * factor(rate), some_variable and step.rate != idle)


def _consume(scope: Scope, step: Consume) -> Fault | None:
    amount = _amount(scope, step.amount)
    return amount if isinstance(amount, Fault) else _take(scope, step.entity, amount)


def _add_entity(scope: Scope, step: AddEntity) -> Fault | None:
    amount = _amount(scope, step.amount)
    if isinstance(amount, Fault):
        return amount
    return _give(scope, step.entity, amount, step.amount in scope.derived)


def _transfer(scope: Scope, step: Transfer) -> Fault | None:
    if step.from_ == step.to:
        return Fault("self_transfer", f"{step.to} cannot receive from itself")
    amount = _amount(scope, step.amount)
    if isinstance(amount, Fault):
        return amount
    amount_derived = step.amount in scope.derived
    return _take(scope, step.from_, amount) or _give(scope, step.to, amount, amount_derived)


def _amount(scope: Scope, operand: Operand) -> Fraction | Fault:
    amount = scope.read(operand)
    if not isinstance(amount, Fault) and amount.numerator < 0:
        return Fault("negative_amount", f"the amount is {spell(amount)}; an amount is not negative")
    return amount


def _take(scope: Scope, entity: str, amount: Fraction) -> Fault | None:
    held = scope.values.get(entity)
    if held is None:
        return Fault("undefined_variable", f"{entity} is not defined")
    left = held - amount
    if left.numerator < 0:
        return Fault("insufficient_amount", f"{entity} has {spell(held)}, less than {spell(amount)}")
    return scope.put(entity, left, derived=amount.numerator != 0 or entity in scope.derived)


def _give(scope: Scope, entity: str, amount: Fraction, amount_derived: bool) -> Fault | None:
    """Add to an entity. One that was undefined, or stood at 0, is only as derived as what it receives."""
    held = scope.values.get(entity)
    if held is None:
        return scope.put(entity, amount, amount_derived)
    if not amount.numerator:
        return None
    return scope.put(entity, held + amount, True if held.numerator else amount_derived)


def _query(scope: Scope, step: Query) -> Fault | None:
    value = scope.values.get(step.var)
    if value is None:
        return Fault("undefined_query", f"{step.var} is queried but not defined")
    if step.var not in scope.derived:
        return Fault("short_circuit", f"short circuit: {step.var} was copied, not computed")
    scope.answer = value
    return None


def _malformed(_: Scope, step: Malformed) -> Fault:
    return Fault(step.kind, step.message)


Effect = Callable[[Scope, Any], Fault | None]
EFFECTS: Final[dict[type[Step], Effect]] = {
    Init: _init, InitFrom: _init_from, Compute: _compute, Percent: _percent, Consume: _consume,
    AddEntity: _add_entity, Transfer: _transfer, Query: _query, Malformed: _malformed,
}  # fmt: skip
