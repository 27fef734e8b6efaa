"""What may come next in a trace, token by token: a coroutine that knows the language, the scope and the question.

Takes a vocabulary and the numbers that may be written; gives runs of forced tokens and, between them, the choices.
Operands are variables, and amounts may be numbers, as in gold traces. Knows nothing of networks, sampling or rewards.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import partial
from typing import Any, Final

from mlx_trace.config import OPERATION_FIRST, TraceForm
from mlx_trace.decode.grammar.rules import PartRules, Rules, Stands
from mlx_trace.decode.grammar.shortest import (
    COMPUTING,
    Cheapest,
    args_cost,
    ending,
    fields_of_step,
    line_end,
    query_cost,
    rest,
    short_names,
    shorter_query,
    shortest_part,
)
from mlx_trace.decode.grammar.spelling import LONGEST_PIECE, Spelling
from mlx_trace.decode.grammar.vocabulary import Mask, Vocabulary
from mlx_trace.decode.grammar.writing import OPENINGS, Choice, Run, Walk
from mlx_trace.errors import UserError
from mlx_trace.language.experts import EFFECTS, EXPERTS, Fault, Scope
from mlx_trace.language.solver import MAX_PARTS, MAX_STEPS
from mlx_trace.language.steps import COMPUTE_OPS, OPS, read_step, render_step
from mlx_trace.language.syntax import MAX_BYTES
from mlx_trace.model.prompts import FENCE

MAX_ARGS: Final = 16  # of one compute
_LONGEST_STEP: Final = 1500  # characters that a step and the shortest ending never reach

Pairs = list[tuple[str, Any]]


class Automaton(Spelling):
    """One trace while it is written. `ids` are its tokens so far, `choice` what may come next (None once it is whole).

    `numbers` are all that may stand as values and amounts, as text; without any the model spells its own. The trace
    never takes more than `max_tokens`: as they run out, only what can still end in time is offered. `rules` then choose
    among what is left, and yield where they would leave nothing. `form` is the order of a step's keys; in `commented`,
    a comment stands before the first step and behind whatever computes, unless the query comes next, or room is short.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        numbers: Sequence[str] | None,
        max_tokens: int,
        rules: Rules | None = None,
        form: TraceForm = OPERATION_FIRST,
    ) -> None:
        super().__init__(vocabulary, max_tokens)
        self._chosen: list[int] = []
        self._numbers = numbers or None
        self._amounts = [number for number in numbers or () if not number.startswith("-")] or numbers or ()
        self._answers: tuple[Fraction, ...] = ()
        self._scope, self._rules = Scope(), rules
        self._ruling: PartRules | None = None
        self._written = 0  # characters of all steps so far
        if form == "commented":
            vocabulary.mask(Mask("prose", LONGEST_PIECE))  # or says which characters there are no tokens for
        number = min(self._amounts or ("1",), key=lambda number: len(vocabulary.word(f" value: {number}}}\n")))
        new, newer, *_ = short_names(vocabulary)
        self._least = Cheapest(None, None, new, newer, number, "", form)
        if (shortest := shortest_part(vocabulary, self._least)) > max_tokens:
            raise UserError(f"max_tokens is {max_tokens}, and the shortest trace takes {shortest} tokens")
        self._walk = self._document()
        self.choice: Choice | None = next(self._walk)

    def take(self, token: int) -> None:
        """Write a chosen token, and all that follows from it."""
        self.ids.append(token)
        self._chosen.append(token)
        try:
            self.choice = self._walk.send(token)
        except StopIteration:
            self.choice = None

    def replayed(self) -> "Automaton":
        """Return another that has written the same."""
        other = Automaton(self._vocabulary, self._numbers, self._max_tokens, self._rules, self._least.form)
        for token in self._chosen:
            other.take(token)
        return other

    # --- documents, parts, steps -------------------------------------------------------------------------------

    def _document(self) -> Walk:
        indented = self._least._replace(indent="  ")
        another = shortest_part(self._vocabulary, indented)
        single = {"expert:": False}
        composed = yield from self._pick(single | ({"- expert:": True} if another <= self._max_tokens else {}))
        if composed:
            self._least = indented
        for part in range(1, MAX_PARTS + 1):
            yield from self._part()
            may_go_on = composed and part < MAX_PARTS and another <= self._room and self._written < MAX_BYTES // 2
            if not (yield from self._pick({FENCE: False} | ({"- expert:": True} if may_go_on else {}))):
                return

    def _part(self) -> Walk:
        self._scope = Scope(self._answers)
        is_whole = not self._least.indent
        self._ruling = PartRules(self._rules, self._scope, self._numbers, is_whole) if self._rules else None
        self._least = self._cheapest()
        begin, end = self._vocabulary.line(self._least.indent)
        head, op = f"{begin}trace:{end}", ""
        left = len(self._vocabulary.word(head)) + ending(self._vocabulary, self._least)
        expert = yield from self._pick({f" {expert}{end}": expert for expert in EXPERTS}, left)
        self._write(head)
        for step in range(MAX_STEPS):
            op = yield from self._op(expert, step, op)
            yield from self._step(op)
            if op == "query":
                break
            self._least = self._cheapest()
        self._answers = (*self._answers, self._scope.answer or Fraction(0))

    def _op(self, expert: str, step: int, before: str) -> Walk:
        """Let the model choose the op of the next step, `before` being the last one's."""
        dash, chosen = f"{self._vocabulary.line(self._least.indent)[0]}- {{op:", ""
        if self._least.form == "commented":
            chosen = before if before == "init" else (yield from self._reasons(dash, expert, step))
        if chosen == "query":
            return chosen
        self._write(dash)
        ops = self._ops(expert, step, self._room)
        if chosen:  # the computation for which there are reasons, and numbers, is yet to come
            ops = [op for op in ops if op != "query"] or ops
        stands = self._ruling.lets_op if self._ruling else None
        return (yield from self._pick({f" {op},": op for op in ops}, stands=stands))

    def _reasons(self, dash: str, expert: str, step: int) -> Walk:
        """Let the model write a comment, or the query, and return which; "" where there is no room for a comment."""
        begin, closing = dash.partition("-")[0], self._vocabulary.word(self._vocabulary.line(self._least.indent)[1])
        dashed = len(self._vocabulary.word(dash))
        room = self._room - dashed
        shortest = len(self._vocabulary.word(f"{begin}#")) + len(closing) + 2  # a space and a letter
        ops = [op for op in self._ops(expert, step, room - shortest) if op != "query"]
        if not ops or (left := min(map(self._need, ops))) > room - shortest:
            return ""
        options = {f"{begin}#": "comment"}
        if "query" in self._ops(expert, step, room):
            options[f"{dash} query,"] = "query"
        stands = partial(self._ruling.lets_comment, ops) if self._ruling else None
        chosen = yield from self._pick(options, stands=stands)
        if chosen == "comment":
            computes = self._rules is not None and "as_computed" in self._rules.names
            said = yield from self._prose(closing, dashed + left, computes)
            self._written += len(said) + len("  #\n")
            if self._ruling:
                self._ruling.said.hear(said)
        return chosen

    def _ops(self, expert: str, step: int, room: int) -> list[str]:
        """Return the ops that may come next: those that are possible, and leave room to end in time."""
        variables, derived = self._scope.values, self._scope.derived
        if step + 3 >= MAX_STEPS or self._written + _LONGEST_STEP > MAX_BYTES:
            return ["query" if derived else "compute" if variables else "init"]
        possible = (op for op in OPS if op in EXPERTS[expert] and
                    (op == "init" or (derived if op == "query" else variables)))  # fmt: skip
        return [op for op in possible if self._need(op) <= room]

    def _need(self, op: str) -> int:
        """Return how many tokens a step of `op` and the shortest ending take."""
        return self._rest(op, -1) + len(self._vocabulary.word(f" {op},"))

    def _step(self, op: str) -> Walk:
        """Write the fields of a step, then run it, which defines its variable."""
        pairs: Pairs = [("op", op)]
        fields = fields_of_step(op, self._least.form)
        for field, (key, kind) in enumerate(fields):
            last = field + 1 == len(fields)
            end = line_end(self._vocabulary, self._least.indent, op) if last else ","
            pairs.append((yield from self._field(kind, key, end, self._rest(op, field), pairs)))
            if kind == "new" and self._least.variable is None:
                self._least = self._least._replace(variable=pairs[-1][1])
            if kind == "new" and not last and op in COMPUTING:
                self._least = shorter_query(self._vocabulary, self._least, pairs[-1][1])
        step = read_step(pairs)
        self._written += len(render_step(step)) + len("  - \n")
        fault = EFFECTS[type(step)](self._scope, step)
        if self._ruling:
            self._ruling.note(op, dict(pairs))
        name = dict(pairs).get("var")
        if isinstance(fault, Fault) and name is not None:  # here the solver ends, and the text does not
            self._scope.put(name, Fraction(1), derived=op in COMPUTING)

    # --- fields ------------------------------------------------------------------------------------------------

    def _field(self, kind: str, key: str, end: str, left: int, pairs: Pairs) -> Walk:
        """Write one field, after which `left` tokens must be left; return it as (key, value)."""
        variables = self._scope.values
        stands = self._ruling.of_field(kind, key, pairs) if self._ruling else None
        match kind:
            case "new":
                uses = self._uses(pairs[0][1])
                return key, (yield from self._name(key, end, left, uses, variables))
            case "receiver":
                return key, (yield from self._name(key, end, left, 0, (pairs[-1][1],)))
            case "args":
                return key, (yield from self._args(end, left, pairs[-1][1]))
            case "value":
                sources = ["prev.result", *(f"sub{n}.result" for n in range(len(self._answers)))]
                others = {f" source: {name}{end}": ("source", name) for name in sources if self._answers}
                return (yield from self._quantity(others, key, end, left, stands))
            case "amount":
                others = {f" {key}: {name}{end}": (key, name) for name in variables}
                return (yield from self._quantity(others, key, end, left, stands))
            case _:
                names = {"operation": COMPUTE_OPS, "variable": variables,
                         "derived": [name for name in variables if name in self._scope.derived]}[kind]  # fmt: skip
                return key, (yield from self._pick({f" {key}: {name}{end}": name for name in names}, left, stands))

    def _args(self, end: str, left: int, compute_op: str) -> Walk:
        names = list(self._scope.values)
        last = min(len(self._vocabulary.word(f" {name}]{end}")) for name in names)
        lets, op = self._ruling, compute_op
        first = partial(lets.lets_first, op) if lets else None
        args = [(yield from self._pick({f" args: [{name},": name for name in names}, left + last, first))]
        while True:
            options = {f" {name}]{end}": (name, True) for name in names}
            if compute_op in ("add", "mul") and len(args) + 2 <= MAX_ARGS:
                room = self._room - left - last
                inner = {f" {name},": (name, False) for name in names}
                options |= {text: arg for text, arg in inner.items() if len(self._vocabulary.word(text)) <= room}
            stands = partial(lets.lets_arg, op, tuple(args)) if lets else None
            name, closed = yield from self._pick(options, left, stands)
            args.append(name)
            if closed:
                return args

    def _uses(self, op: str) -> int:
        """Return how often the shortest ending after a step must name what the step defines."""
        if op == "init":
            return 0 if self._scope.values else 2
        shortest = shorter_query(self._vocabulary, self._least, self._least.new)
        return 0 if shortest == self._least else 1

    def _quantity(
        self, others: Mapping[str, tuple[str, str]], key: str, end: str, left: int, stands: Stands | None
    ) -> Walk:
        """Let the model write a number, or one of the other things that may stand there."""
        if self._numbers is not None:
            numbers = self._amounts if key == "amount" else self._numbers  # an amount below 0 ends in the solver
            stated = {f" {key}: {number}{end}": (key, number) for number in numbers}
            return (yield from self._pick({**others, **stated}, left, stands))
        marks = {kind: mark for mark, kind in OPENINGS.items()}
        room = self._room - left - len(self._vocabulary.end(end))
        own: list[Run] = [((*before, marks[kind]), None) for before, kind in self._vocabulary.openings(key)]
        own = [run for run in own if len(run[0]) <= room] or [min(own, key=lambda run: len(run[0]))]
        standing = [run for run in self._fitting(others, left) if stands is None or stands(run[1])]
        other = yield from self._choose([*standing, *own])
        if other is not None:
            return other
        return key, (yield from self._numeral(end, left))

    def _rest(self, op: str, field: int) -> int:
        return rest(self._vocabulary, self._least, op, field)

    def _cheapest(self) -> Cheapest:
        """Return what the shortest ending would name, as the scope is now."""
        free = (name for name in short_names(self._vocabulary) if name not in self._scope.values)
        args, query = partial(args_cost, self._vocabulary), partial(query_cost, self._vocabulary)
        return self._least._replace(
            variable=min(self._scope.values, key=args, default=None),
            derived=min(sorted(self._scope.derived), key=query, default=None), new=next(free), newer=next(free),
        )  # fmt: skip
