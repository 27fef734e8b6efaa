"""Which options of a step say the same as the comment before it: models reason in comments, and are held to that.

Takes each comment, number and result of a part; knows nothing of tokens.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

from mlx_trace.language.said import Said, Way, said

_HUNDRED: Final = Fraction(100)
_CLOSE: Final = Fraction(1, 100)  # results are said as people round them
_OFTEN: Final = 3
_AS: Final = {"consume": "sub", "transfer": "sub", "add_entity": "add"}


class Saying:
    """What the comments of one part have said so far, and which options agree with the last.

    `values` are those of the variables, `numbers` those that may be given, as text. A variable is known by its value,
    and by what the comment before it said that it would be. Unless it `holds`, every option agrees.
    """

    def __init__(self, values: Mapping[str, Fraction], numbers: Sequence[str] | None, holds: bool) -> None:
        self._values, self._holds = values, holds
        self._given = [Fraction(number) for number in numbers or ()]
        self._claims: dict[str, Fraction] = {}
        self._said: Said | None = None
        self._since: Counter[Fraction] = Counter()  # numbers given since
        self._heard: Counter[str] = Counter()

    def hear(self, text: str) -> None:
        """Take down a comment; what it says holds until something is computed."""
        self._heard[text.strip()] += 1
        if self._holds:
            self._said, self._since = said(text), Counter()

    @property
    def is_circling(self) -> bool:
        """Tell whether a comment was written so often that the model does not find on by itself."""
        return any(often >= _OFTEN for often in self._heard.values())

    def note(self, op: str, fields: Mapping[str, Any]) -> None:
        """Note that a number was given, or that what was said is computed, under a name."""
        if self._said is None:
            return
        if op != "init":
            if self._said.result is not None:
                self._claims[fields.get("var", fields.get("entity", fields.get("from", "")))] = self._said.result
            self._said = None
        elif "value" in fields:
            self._since[Fraction(fields["value"])] += 1

    def lets_op(self, op: str) -> bool:
        """Tell whether a step of `op` may come next: a computation once its operands are there."""
        if self._said is None:
            return True
        if op == "init":
            return any(map(self._lets_given, self._given))
        if not self._said.ways:
            return op == "compute" or _AS.get(op, op) in self._said.ops
        if op in _AS:
            return any(way[0] == _AS[op] for way in self._said.ways)
        ways = (way for way in self._said.ways if op == (way[0] if "percent" in way[0] else "compute"))
        return any(map(self._is_ready, ways))

    def lets_operation(self, operation: str) -> bool:
        """Tell whether a computation may be this operation."""
        if self._said is None:
            return True
        if not self._said.ways:
            return operation in self._said.ops
        return any(way[0] == operation and self._is_ready(way) for way in self._said.ways)

    def lets_args(self, operation: str, args: Sequence[str], is_last: bool) -> bool:
        """Tell whether these operands may stand, as all or as the first of them."""
        if self._said is None:
            return True
        if not self._said.ways:
            return all(any(self._is(arg, number) for number in self._said.numbers) for arg in args)
        return any(op == operation and self._begins(op, operands, args, is_last) for op, operands in self._said.ways)

    def lets_rate(self, op: str, base: str, rate: str) -> bool:
        """Tell whether a percentage may be of these."""
        if self._said is None or self._said.ways:
            return self.lets_args(op, (base, rate), True)
        numbers = self._said.numbers
        is_rate = any(self._is(rate, number) or self._is(rate, number * _HUNDRED) for number in numbers)
        return is_rate and any(self._is(base, number) for number in numbers)

    def lets_number(self, number: str) -> bool:
        """Tell whether a number may be given: as often as it is said."""
        return self._said is None or self._lets_given(Fraction(number))

    def _lets_given(self, number: Fraction) -> bool:
        assert self._said is not None
        numbers = self._said.numbers
        often = (max(operands.count(number) for _, operands in self._said.ways) if self._said.ways
                 else number in numbers or number / _HUNDRED in numbers)  # fmt: skip
        return self._since[number] < often

    def lets_amount(self, amount: str) -> bool:
        """Tell whether an amount, a variable's or a number, may be taken or given."""
        if self._said is None:
            return True
        numbers = [number for _, operands in self._said.ways for number in operands] or self._said.numbers
        is_name = amount in self._values
        return any(self._is(amount, number) if is_name else Fraction(amount) == number for number in numbers)

    def _is_ready(self, way: Way) -> bool:
        """Tell whether there are variables for all operands of a way."""
        return all(any(self._is(name, number) for name in self._values) for number in way[1])

    def _begins(self, op: str, operands: Sequence[Fraction], args: Sequence[str], is_last: bool) -> bool:
        """Tell whether variables are operands, or the first of them; the order of sums and products does not matter."""
        if len(args) > len(operands) or is_last != (len(args) == len(operands)):
            return False
        if op not in ("add", "mul"):
            return all(map(self._is, args, operands))
        left = list(operands)
        for arg in args:
            number = next((number for number in left if self._is(arg, number)), None)
            if number is None:
                return False
            left.remove(number)
        return True

    def _is(self, name: str, number: Fraction) -> bool:
        return abs(number - self._values[name]) < _CLOSE or number == self._claims.get(name)
