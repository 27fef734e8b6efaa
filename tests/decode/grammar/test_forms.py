"""The constraint in the form `name_first`: what is tested of the other form in `test_automaton` holds in this one too."""

import re
from collections.abc import Iterator, Sequence
from functools import cache, partial
from random import Random

import pytest

from mlx_trace.decode.grammar.automaton import Automaton
from mlx_trace.decode.grammar.shortest import FIELDS, fields_of_step
from mlx_trace.language.knowledge import grounded_numbers
from mlx_trace.language.syntax import Trace, parse_document, render
from mlx_trace.problems.forms import in_form
from mlx_trace.problems.synthetic.generator import draw
from mlx_trace.problems.synthetic.schema import load_schemas
from tests.decode.grammar import families
from tests.decode.grammar import test_automaton as tested

FORM = "name_first"
_COMPUTED = re.compile(r"op: (compute|percent_\w+), (.*), var: ([\w.]+)\}")


def reordered(text: str) -> str:
    """Return lines with the names of results before what computes them."""
    return _COMPUTED.sub(r"op: \1, var: \3, \2}", text)


@cache
def golds() -> list[tuple[str, tuple[str, ...]]]:
    drawn = [draw(schema, 11, number) for schema in load_schemas().values() for number in range(2)]
    return [(in_form(problem, FORM) or "", grounded_numbers(problem.question)) for problem in drawn]


def patterns(state: tested.State, numbers: tested.Numbers, longest: int) -> Iterator[str]:
    new = tested.fresh(state.variables, longest)
    old = tested.any_of(state.variables)
    for pattern in _patterns(state, numbers, longest):
        if pattern.startswith('"compute, '):
            some = f'("add" | "mul") ", args: [" {old} (", " {old}){{1,{tested.MAX_ARGS - 1}}}'
            two = f'("sub" | "div") ", args: [" {old} ", " {old}'
            yield f'"compute, var: " {new} ", compute_op: " ({some} | {two}) "]"'
        elif pattern.startswith("/percent"):
            yield f'/percent_(of|off|increase)/ ", var: " {new} ", base: " {old} ", rate: " {old}'
        else:
            yield pattern


_patterns = tested.patterns
STATES = [
    (state._replace(before=reordered(state.before)), [reordered(line) for line in lines])
    for state, lines in tested.STATES
]


@pytest.fixture(autouse=True)
def name_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tested, "Automaton", partial(Automaton, form=FORM))
    monkeypatch.setattr(tested, "render", partial(render, form=FORM))
    monkeypatch.setattr(tested, "patterns", patterns)
    monkeypatch.setattr(tested, "golds", golds)
    monkeypatch.setattr(tested, "shortest", shortest)


@cache
def shortest(family: str, numbers: tested.Numbers) -> int:
    with pytest.raises(tested.UserError, match="the shortest trace takes") as error:
        Automaton(tested.vocabulary(family), numbers, 3, form=FORM)
    return int(re.findall(r"\d+", str(error.value))[-1])


def test_only_what_computes_is_written_in_another_order() -> None:
    for op, fields in FIELDS.items():
        assert sorted(fields_of_step(op, FORM)) == sorted(fields)
        assert ("var", "new") not in fields or fields_of_step(op, FORM)[0] == ("var", "new")


@pytest.mark.parametrize("family", tested.FAMILIES)
def test_walks_end_in_sound_traces_in_time(family: str) -> None:
    for number in range(150):
        rng = Random(number)
        question = tested.problems()[number % len(tested.problems())].question
        numbers = grounded_numbers(question) if number % 2 else None
        max_tokens = tested.budget(family, numbers, rng)
        automaton = Automaton(tested.vocabulary(family), numbers, max_tokens, form=FORM)
        tested.check_finished(tested.walk(automaton, family, rng), numbers)
        assert len(automaton.ids) <= max_tokens


@pytest.mark.parametrize("family", tested.FAMILIES)
def test_a_long_name_leaves_a_way_to_the_end(family: str) -> None:
    for steps in tested.LONG_DERIVED:
        named_first = re.sub(r"(compute_op: add, args: .*), var: (\w+)", r"var: \2, \1", steps)
        tested.check_long_name(family, named_first, FORM)


@pytest.mark.parametrize("family", tested.FAMILIES)
def test_golds_are_offered_token_by_token(family: str) -> None:
    tested.test_every_gold_trace_is_offered_token_by_token(family)
    tested.test_a_budget_forbids_little_of_what_would_fit(family)
    for trace in (tested.SUM_OF_ELEVEN, tested.THREE_PARTS):
        tested.test_traces_beyond_those_of_the_schemas_are_offered_token_by_token(family, reordered(trace))


@pytest.mark.parametrize("family", tested.FAMILIES)
def test_the_shortest_budget_is_enough(family: str) -> None:
    tested.test_the_shortest_budget_is_enough_and_one_token_less_is_said_to_be_too_few(family)


@pytest.mark.parametrize("family", tested.FAMILIES)
def test_the_other_form_is_not_offered(family: str) -> None:
    trace = parse_document(tested.SUM_OF_ELEVEN)
    assert isinstance(trace, Trace)
    refused = tested.drive(family, None, render(trace) + tested.END)
    assert refused.endswith("op: compute,") or "compute_op" not in refused
    assert tested.drive(family, None, render(trace, FORM) + tested.END) == render(trace, FORM) + tested.END


@pytest.mark.parametrize("family", ["GPT-2", "Llama 3", "Gemma"])
@pytest.mark.parametrize("numbers", [tested.ORACLE_NUMBERS, None], ids=["grounded", "ungrounded"])
@pytest.mark.parametrize(("state", "lines"), STATES, ids=range(len(STATES)))
def test_an_oracle_agrees(state: tested.State, lines: Sequence[str], numbers: tested.Numbers, family: str) -> None:
    assert family in families.NAMES
    tested.test_an_oracle_allows_all_that_is_offered(state, numbers, family)
    tested.test_what_the_oracle_allows_can_be_written_in_canonical_tokens(state, list(lines), numbers, family)
