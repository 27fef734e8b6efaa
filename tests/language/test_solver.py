"""The solver computes what a naive evaluator computes, and every rule of the language has its kind."""

from fractions import Fraction

import pytest
from hypothesis import given, settings

from mlx_trace.language.numbers import LIMIT
from mlx_trace.language.solver import Entry, Failed, Outcome, Solved, solve
from mlx_trace.language.steps import (
    AddEntity,
    Compute,
    Consume,
    Init,
    InitFrom,
    Percent,
    Query,
    Transfer,
)
from mlx_trace.language.syntax import Trace, parse
from tests.language.traces import running_parts, traces


def run(text: str) -> Outcome:
    trace = parse(text)
    assert isinstance(trace, Trace), trace
    return solve(trace)


def part(*steps: str, expert: str = "arithmetic") -> str:
    return f"expert: {expert}\ntrace:\n" + "\n".join(f"- {{{step}}}" for step in steps)


def composed(*parts: str) -> str:
    return "\n".join("- " + text.replace("\n", "\n  ") for text in parts)


FIRST = part("op: init, var: p, value: 4", "op: compute, compute_op: add, args: [p, 3], var: q", "op: query, var: q")


# --- a second evaluator, written from the specification with plain dictionaries and no shared code ---


def naive(trace: Trace) -> Fraction | str:
    """Return the answer, or the word for what is wrong."""
    experts = {"arithmetic": "", "rate_equation": "", "comparison": "", "percentage": "p", "entity_track": "e"}
    answers: list[Fraction] = []
    for one in trace.parts:
        if one.expert not in experts:
            return "unknown_expert"
        allowed = experts[one.expert]
        env: dict[str, tuple[Fraction, bool]] = {}
        answer = None
        for step in one.steps:
            if answer is not None:
                return "several_queries" if isinstance(step, Query) else "after_query"
            word = _naive_step(step, env, allowed, answers)
            if isinstance(word, str):
                return word
            answer = word
        if answer is None:
            return "no_query"
        answers.append(answer)
    return answers[-1]


def _naive_step(step, env, allowed, answers) -> Fraction | str | None:
    big = 10**30

    def value(x):
        if isinstance(x, str):
            return env[x][0] if x in env else None
        return x

    def fits(x):
        return abs(x.numerator) <= big and x.denominator <= big

    def store(name, number, derived, fresh):
        if fresh and name in env:
            return "redefinition"
        if not fits(number):
            return "too_large"
        env[name] = (number, derived)
        return None

    if isinstance(step, Init):
        return store(step.var, step.value, False, True)
    if isinstance(step, InitFrom):
        if not answers:
            return "bad_source"
        index = len(answers) - 1 if step.source.startswith("prev") else int(step.source.split(".")[0][3:])
        return store(step.var, answers[index], False, True) if index < len(answers) else "bad_source"
    if isinstance(step, Query):
        if step.var not in env:
            return "undefined_query"
        return env[step.var][0] if env[step.var][1] else "short_circuit"
    if isinstance(step, Compute | Percent):
        if isinstance(step, Percent) and allowed != "p":
            return "foreign_op"
        operands = step.args if isinstance(step, Compute) else (step.base, step.rate)
        for x in operands:
            if value(x) is None:
                return "undefined_variable"
            if not isinstance(x, str) and not fits(x):
                return "too_large"
        numbers = [value(x) for x in operands]
        literals = [x for x in operands if not isinstance(x, str)]
        derived = len(literals) < len(operands)
        if isinstance(step, Percent):
            base, rate = numbers
            factor = {"percent_of": rate / 100, "percent_off": 1 - rate / 100, "percent_increase": 1 + rate / 100}
            idle = 100 if step.op == "percent_of" else 0
            derived = derived and not (not isinstance(step.rate, str) and step.rate == idle)
            return store(step.var, base * factor[step.op], derived, True)
        total = numbers[0]
        for number in numbers[1:]:
            if step.compute_op == "div" and number == 0:
                return "division_by_zero"
            total = {"add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b,
                     "div": lambda a, b: a / b}[step.compute_op](total, number)  # fmt: skip
            if not fits(total):
                return "too_large"
        identity = 0 if step.compute_op in ("add", "sub") else 1
        return store(step.var, total, derived and all(x != identity for x in literals), True)
    if allowed != "e":
        return "foreign_op"
    return _naive_entity(step, env, value, fits, store)


def _naive_entity(step, env, value, fits, store) -> str | None:
    if isinstance(step, Transfer) and step.from_ == step.to:
        return "self_transfer"
    amount = value(step.amount)
    if amount is None:
        return "undefined_variable"
    if not fits(amount):
        return "too_large"
    if amount < 0:
        return "negative_amount"
    amount_derived = isinstance(step.amount, str) and env[step.amount][1]
    if isinstance(step, Consume | Transfer):
        giver = step.entity if isinstance(step, Consume) else step.from_
        if giver not in env:
            return "undefined_variable"
        held, derived = env[giver]
        if held - amount < 0:
            return "insufficient_amount"
        word = store(giver, held - amount, True if amount else derived, False)
        if word:
            return word
    if isinstance(step, AddEntity | Transfer):
        taker = step.entity if isinstance(step, AddEntity) else step.to
        if taker not in env:
            return store(taker, amount, amount_derived, False)
        held, derived = env[taker]
        if amount:
            return store(taker, held + amount, amount_derived if held == 0 else True, False)
    return None


def outcome_word(outcome: Outcome) -> Fraction | str:
    return outcome.answer if isinstance(outcome, Solved) else outcome.kind


@settings(max_examples=500)
@given(traces())
def test_the_solver_agrees_with_a_naive_evaluator(trace: Trace) -> None:
    assert outcome_word(solve(trace)) == naive(trace)


@settings(max_examples=300)
@given(traces(running_parts()))
def test_it_agrees_on_traces_made_to_run(trace: Trace) -> None:
    assert outcome_word(solve(trace)) == naive(trace)


@given(traces())
def test_a_ledger_changes_nothing_and_holds_what_was_done(trace: Trace) -> None:
    entries: list[Entry] = []
    outcome = solve(trace, entries)
    assert outcome == solve(trace)
    steps = sum(len(one.steps) for one in trace.parts)
    if isinstance(outcome, Solved):
        assert [entry.step for entry in entries] == [step for one in trace.parts for step in one.steps]
    else:
        assert len(entries) < steps + 1
    for entry in entries:
        if isinstance(entry.step, Init | Compute):
            assert set(entry.changed) == {entry.step.var}


def test_examples_of_the_specification() -> None:
    eggs = part(
        "op: init, var: eggs, value: 16", "op: init, var: breakfast, value: 3",
        "op: compute, compute_op: sub, args: [eggs, breakfast], var: step1", "op: init, var: price, value: 2",
        "op: compute, compute_op: mul, args: [step1, price], var: result", "op: query, var: result",
    )  # fmt: skip
    assert outcome_word(run(eggs)) == 26
    sale = part("op: init, var: price, value: 80", "op: percent_off, base: price, rate: 20, var: r", "op: query, var: r",
                expert="percentage")  # fmt: skip
    more = part("op: init, var: sale, source: prev.result", "op: compute, compute_op: add, args: [sale, 10], var: r",
                "op: query, var: r")  # fmt: skip
    assert outcome_word(run(composed(sale, more))) == 74


def test_numbers_are_exact() -> None:
    thirds = part("op: init, var: a, value: 1/200", "op: compute, compute_op: mul, args: [a, 200], var: b",
                  "op: compute, compute_op: div, args: [b, 3], var: c", "op: compute, compute_op: mul, args: [c, 3], var: d",
                  "op: query, var: d")  # fmt: skip
    assert outcome_word(run(thirds)) == 1


def test_each_part_starts_without_variables() -> None:
    second = part("op: compute, compute_op: add, args: [q, 3], var: r", "op: query, var: r")
    assert outcome_word(run(composed(FIRST, second))) == "undefined_variable"


# --- every rule, alone and in the second part of a composition ---

INIT = "op: init, var: a, value: 8"
ADD = "op: compute, compute_op: add, args: [a, 1], var: b"
RULES: list[tuple[str, str, tuple[str, ...]]] = [
    # (kind, expert, steps)
    ("unknown_expert", "wizardry", (INIT, ADD, "op: query, var: b")),
    ("unknown_op", "arithmetic", (INIT, "op: fly, var: b", "op: query, var: b")),
    ("foreign_op", "arithmetic", (INIT, "op: consume, entity: a, amount: 1", "op: query, var: a")),
    ("foreign_op", "entity_track", (INIT, "op: percent_of, base: a, rate: 5, var: b", "op: query, var: b")),
    ("wrong_field", "arithmetic", (INIT, ADD + ", note: x", "op: query, var: b")),
    ("bad_value", "arithmetic", ("op: init, var: a, value: 8*2", ADD, "op: query, var: b")),
    ("bad_name", "arithmetic", ("op: init, var: 8, value: 8", ADD, "op: query, var: b")),
    ("undefined_variable", "arithmetic", (ADD, "op: query, var: b")),
    ("undefined_variable", "entity_track", ("op: consume, entity: a, amount: 1", "op: query, var: a")),
    ("undefined_variable", "entity_track", (INIT, "op: transfer, from: b, to: a, amount: 1", "op: query, var: a")),
    ("redefinition", "arithmetic", (INIT, INIT, ADD, "op: query, var: b")),
    ("redefinition", "arithmetic", (INIT, ADD, ADD, "op: query, var: b")),
    ("division_by_zero", "arithmetic", (INIT, "op: compute, compute_op: div, args: [a, 0], var: b", "op: query, var: b")),
    ("insufficient_amount", "entity_track", (INIT, "op: consume, entity: a, amount: 9", "op: query, var: a")),
    ("insufficient_amount", "entity_track", (INIT, "op: transfer, from: a, to: b, amount: 9", "op: query, var: b")),
    ("negative_amount", "entity_track", (INIT, "op: add_entity, entity: a, amount: -1", "op: query, var: a")),
    ("bad_source", "arithmetic", ("op: init, var: a, source: sub7.result", ADD, "op: query, var: b")),
    ("self_transfer", "entity_track", (INIT, "op: transfer, from: a, to: a, amount: 1", "op: query, var: a")),
    ("no_query", "arithmetic", (INIT, ADD)),
    ("several_queries", "arithmetic", (INIT, ADD, "op: query, var: b", "op: query, var: b")),
    ("after_query", "arithmetic", (INIT, ADD, "op: query, var: b", "op: init, var: c, value: 1")),
    ("undefined_query", "arithmetic", (INIT, ADD, "op: query, var: c")),
    ("short_circuit", "arithmetic", (INIT, ADD, "op: query, var: a")),
    ("too_large", "arithmetic", (INIT, f"op: init, var: c, value: 1{'0' * 31}", ADD, "op: query, var: b")),
    ("too_large", "arithmetic", (INIT, f"op: compute, compute_op: div, args: [a, {10**30 + 1}], var: b", "op: query, var: b")),
    ("too_large", "arithmetic", (*(f"op: init, var: v{n}, value: 1" for n in range(64)), "op: query, var: v0")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "expert", "steps"), RULES, ids=[f"{kind}-{n}" for n, (kind, _, _) in enumerate(RULES)]
)
def test_every_rule_has_its_kind_alone_and_composed(kind: str, expert: str, steps: tuple[str, ...]) -> None:
    alone = run(part(*steps, expert=expert))
    assert isinstance(alone, Failed)
    assert (alone.kind, alone.part) == (kind, 0)
    second = run(composed(FIRST, part(*steps, expert=expert)))
    assert isinstance(second, Failed)
    assert (second.kind, second.part, second.step) == (kind, 1, alone.step)
    assert second.message


@pytest.mark.parametrize("source", ["prev.result", "sub0.result"])
def test_source_needs_an_earlier_part(source: str) -> None:
    text = part(f"op: init, var: a, source: {source}", ADD, "op: query, var: b")
    assert outcome_word(run(text)) == "bad_source"
    assert outcome_word(run(composed(FIRST, text))) == 8
    assert outcome_word(run(composed(text, FIRST))) == "bad_source"


def test_limits_are_reached_but_not_passed() -> None:
    steps = [f"op: init, var: v{n}, value: 1" for n in range(62)]
    fits = [*steps, "op: compute, compute_op: add, args: [v0, v1], var: r", "op: query, var: r"]
    assert outcome_word(run(part(*fits))) == 2
    assert outcome_word(run(composed(*[FIRST] * 16))) == 7
    many = run(composed(*[FIRST] * 17))
    assert isinstance(many, Failed)
    assert many.kind == "too_large"
    most = part(f"op: init, var: a, value: {LIMIT}", "op: compute, compute_op: mul, args: [a, -1], var: b",
                "op: query, var: b")  # fmt: skip
    assert outcome_word(run(most)) == -LIMIT


# --- short circuit ---

QUERY = "op: query, var: r"


@pytest.mark.parametrize(
    ("expert", "step", "fine"),
    [
        ("arithmetic", "op: compute, compute_op: add, args: [a, 5], var: r", True),
        ("arithmetic", "op: compute, compute_op: add, args: [a, a], var: r", True),
        ("arithmetic", "op: compute, compute_op: add, args: [5, 3], var: r", False),
        ("arithmetic", "op: compute, compute_op: add, args: [a, 0], var: r", False),
        ("arithmetic", "op: compute, compute_op: add, args: [a, 5, 0.0], var: r", False),
        ("arithmetic", "op: compute, compute_op: sub, args: [a, 0], var: r", False),
        ("arithmetic", "op: compute, compute_op: sub, args: [0, a], var: r", False),
        ("arithmetic", "op: compute, compute_op: mul, args: [a, 1], var: r", False),
        ("arithmetic", "op: compute, compute_op: mul, args: [a, 2/2], var: r", False),
        ("arithmetic", "op: compute, compute_op: mul, args: [a, 0], var: r", True),
        ("arithmetic", "op: compute, compute_op: div, args: [a, 1], var: r", False),
        ("arithmetic", "op: compute, compute_op: div, args: [a, 2], var: r", True),
        ("arithmetic", "op: compute, compute_op: add, args: [a, zero], var: r", True),
        ("percentage", "op: percent_of, base: a, rate: 100, var: r", False),
        ("percentage", "op: percent_of, base: a, rate: 50, var: r", True),
        ("percentage", "op: percent_of, base: 50, rate: 20, var: r", False),
        ("percentage", "op: percent_of, base: 50, rate: a, var: r", True),
        ("percentage", "op: percent_off, base: a, rate: 0, var: r", False),
        ("percentage", "op: percent_increase, base: a, rate: 0, var: r", False),
        ("percentage", "op: percent_increase, base: a, rate: 100, var: r", True),
        ("entity_track", "op: add_entity, entity: r, amount: 5", False),
        ("entity_track", "op: add_entity, entity: r, amount: a", False),
        ("entity_track", "op: add_entity, entity: r, amount: sum", True),
        ("entity_track", "op: transfer, from: a, to: r, amount: 5", False),
        ("entity_track", "op: transfer, from: a, to: r, amount: sum", True),
    ],
)
def test_only_what_was_computed_may_be_queried(expert: str, step: str, fine: bool) -> None:
    before = ("op: init, var: a, value: 20", "op: init, var: zero, value: 0",
              "op: compute, compute_op: sub, args: [a, 12], var: sum")  # fmt: skip
    word = outcome_word(run(part(*before, step, QUERY, expert=expert)))
    assert (word != "short_circuit") == fine


@pytest.mark.parametrize(
    ("steps", "fine"),
    [
        (("op: consume, entity: a, amount: 3",), True),
        (("op: consume, entity: a, amount: 0",), False),
        (("op: add_entity, entity: a, amount: 0",), False),
        (("op: add_entity, entity: a, amount: 4",), True),
        (("op: consume, entity: a, amount: 20",), True),
        (("op: consume, entity: a, amount: 20", "op: add_entity, entity: a, amount: 7"), False),
        (("op: consume, entity: a, amount: 20", "op: add_entity, entity: a, amount: 0"), True),
        (("op: consume, entity: a, amount: 20", "op: add_entity, entity: a, amount: 7",
          "op: add_entity, entity: a, amount: 1"), True),
        (("op: transfer, from: a, to: b, amount: 0",), False),
        (("op: transfer, from: a, to: b, amount: 5",), True),
    ],
)  # fmt: skip
def test_an_entity_is_derived_once_it_changed_but_not_by_a_literal_into_nothing(
    steps: tuple[str, ...], fine: bool
) -> None:
    word = outcome_word(run(part("op: init, var: a, value: 20", *steps, "op: query, var: a", expert="entity_track")))
    assert (word != "short_circuit") == fine


def test_a_copied_source_is_not_an_answer() -> None:
    copied = part("op: init, var: a, source: prev.result", "op: query, var: a")
    assert outcome_word(run(composed(FIRST, copied))) == "short_circuit"


def test_from_steps_reads_sources_and_transfers() -> None:
    giving = part("op: init, var: a, source: sub0.result", "op: transfer, from: a, to: b, amount: 2", "op: query, var: a",
                  expert="entity_track")  # fmt: skip
    outcome = run(composed(FIRST, giving))
    assert isinstance(outcome, Solved)
    assert outcome.answer == 5
    assert outcome.states[1] == {"a": Fraction(5), "b": Fraction(2)}
    assert InitFrom("a", "sub0.result").source == "sub0.result"
