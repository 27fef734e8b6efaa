"""What the automaton offers is always a legal trace in time, and all that gold traces need."""

import json
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from random import Random
from typing import NamedTuple

import numpy as np
import pytest
from llguidance import LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer

from mlx_trace.config import OPERATION_FIRST, TraceForm
from mlx_trace.decode.grammar.automaton import MAX_ARGS, Automaton
from mlx_trace.decode.grammar.follow import follow
from mlx_trace.decode.grammar.vocabulary import Mask, Vocabulary
from mlx_trace.decode.grammar.writing import Choice
from mlx_trace.errors import UserError
from mlx_trace.language.experts import EXPERTS
from mlx_trace.language.knowledge import grounded_numbers
from mlx_trace.language.numbers import spell
from mlx_trace.language.solver import MAX_PARTS, MAX_STEPS, Failed, solve
from mlx_trace.language.steps import LONGEST_NAME, AddEntity, Compute, Consume, Init, InitFrom, Percent, Query, Transfer
from mlx_trace.language.syntax import MAX_BYTES, Part, Trace, parse, render
from mlx_trace.problems.compile.compiler import Compiled, compile_row
from mlx_trace.problems.problem import Problem
from mlx_trace.problems.synthetic.generator import draw, generate_balanced
from mlx_trace.problems.synthetic.schema import load_schemas
from tests.decode.grammar import families
from tests.decode.grammar.test_vocabulary import FAMILIES, token_texts, tokenizer, vocabulary
from tests.paths import SHARED

REAL = SHARED / "tokenizers"  # of real models
GSM8K = SHARED / "data" / "gsm8k" / "train.jsonl"
END = "\n```"
Numbers = Sequence[str] | None


@cache
def problems() -> list[Problem]:
    """Return problems of all kinds."""
    return generate_balanced(list(load_schemas().values()), 60, seed=5)


@cache
def golds() -> list[tuple[str, tuple[str, ...]]]:
    """Return gold traces of every schema, each with the numbers its question grounds."""
    drawn = [draw(schema, 11, number) for schema in load_schemas().values() for number in range(2)]
    return [(problem.trace or "", grounded_numbers(problem.question)) for problem in drawn]


@cache
def members(name: Mask, words: Vocabulary) -> list[int]:
    """Return the tokens of a mask."""
    return [int(token) for token in np.flatnonzero(words.mask(name))]


def offered(choice: Choice, words: Vocabulary) -> list[int]:
    """Return all tokens of a choice."""
    return [*choice.ids, *(members(choice.mask, words) if choice.mask else [])]


def written(automaton: Automaton, family: str) -> str:
    """Return the text so far, as the tokenizer decodes it."""
    return str(tokenizer(family).backend_tokenizer.decode(automaton.ids, skip_special_tokens=False))


@cache
def shortest(family: str, numbers: Numbers) -> int:
    """Return the fewest tokens that a trace may take, which is what the automaton says when it has fewer."""
    with pytest.raises(UserError) as refusal:
        Automaton(vocabulary(family), numbers, 3)
    got, least = map(int, re.findall("[0-9]+", str(refusal.value)))
    assert got == 3
    return least


# --- random walks ----------------------------------------------------------------------------------------------

CHUNKS = 4
WALKS = 834  # in a chunk: 10,008 over the first three families, and 2,000 in each of the others
HARMLESS = {"division_by_zero", "insufficient_amount", "negative_amount", "too_large"}


def walk(automaton: Automaton, family: str, rng: Random) -> str:
    """Choose at random to the end; return the text."""
    while automaton.choice is not None:
        step(automaton, family, rng)
    return written(automaton, family)


def step(automaton: Automaton, family: str, rng: Random) -> None:
    """Choose one token at random, if any may come."""
    if (choice := automaton.choice) is not None:
        from_mask = choice.mask is not None and (not choice.ids or rng.random() < 0.7)
        words = vocabulary(family)
        automaton.take(rng.choice(members(choice.mask, words) if choice.mask and from_mask else choice.ids))


def walk_far(automaton: Automaton, family: str, rng: Random) -> str:
    """Choose at random, but nothing that ends a list, a part or the trace where something else is offered."""
    words, texts = vocabulary(family), token_texts(family)
    while (choice := automaton.choice) is not None:
        going_on = [token for token in choice.ids if texts[token].strip()[:1] not in ("q", "`", "]")]
        from_mask = choice.mask is not None and (not choice.ids or rng.random() < 0.9)
        automaton.take(rng.choice(members(choice.mask, words) if choice.mask and from_mask else going_on or choice.ids))
    return written(automaton, family)


def budget(family: str, numbers: Numbers, rng: Random) -> int:
    """Draw a number of tokens: often few, sometimes more than enough."""
    least = shortest(family, numbers)
    return rng.choices([least, rng.randint(least, 150), rng.randint(least, 400), 3000], [10, 40, 48, 2])[0]


def read(text: str, is_grounded: bool) -> Trace:
    """Parse a finished text, which is canonical if its numbers are."""
    assert text.endswith(END)
    trace = parse(text)
    assert isinstance(trace, Trace), text
    document = text.removesuffix(END)
    if document.startswith("- ") and len(trace.parts) == 1:  # a sequence of one is the same as the mapping
        document = "\n".join(line[2:] for line in document.split("\n"))
    assert render(trace) == document or not is_grounded
    return trace


def check_part(part: Part, earlier: int, numbers: Numbers) -> None:
    """Check scope and grounding by reading alone: where an amount does not suffice, running would stop too early."""
    made: set[str] = set()  # by init, compute and percent_*
    received: set[str] = set()  # by a transfer, if it could be done
    operands: list[str | Fraction] = []
    for step in part.steps:
        assert step.op in EXPERTS[part.expert]
        match step:
            case Init():
                operands = [step.value]
            case InitFrom():
                sources = ["prev.result", *(f"sub{index}.result" for index in range(earlier))]
                assert earlier > 0 and step.source in sources
                operands = []
            case Compute():
                operands = [*step.args]
            case Percent():
                operands = [step.base, step.rate]
            case Consume() | AddEntity():
                operands = [step.entity, step.amount]
            case Transfer():
                assert step.from_ != step.to
                operands = [step.from_, step.amount]
            case Query():
                operands = [step.var]
        assert (made | received).issuperset(operand for operand in operands if isinstance(operand, str))
        assert numbers is None or {spell(n) for n in operands if isinstance(n, Fraction)} <= set(numbers)
        if isinstance(step, Init | InitFrom | Compute | Percent):
            assert step.var not in made, f"{step.var} is redefined"
            made.add(step.var)
        elif isinstance(step, Transfer):
            received.add(step.to)
    assert all(len(name) <= LONGEST_NAME + 2 for name in made | received)
    assert [isinstance(step, Query) for step in part.steps] == [False] * (len(part.steps) - 1) + [True]


def check_finished(text: str, numbers: Numbers) -> None:
    """Check a finished text by reading and by running it."""
    trace = read(text, is_grounded=numbers is not None)
    for at, part in enumerate(trace.parts):
        check_part(part, at, numbers)
    outcome = solve(trace)
    assert not isinstance(outcome, Failed) or outcome.kind in HARMLESS, (outcome, text)


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("family", FAMILIES)
def test_every_walk_ends_in_a_sound_trace_in_time(family: str, chunk: int) -> None:
    walks = 500 if family in families.NAMES else WALKS
    for number in range(chunk * walks, (chunk + 1) * walks):
        rng = Random(number)
        question = problems()[number % len(problems())].question
        numbers = grounded_numbers(question) if number % 2 else None
        max_tokens = budget(family, numbers, rng)
        automaton = Automaton(vocabulary(family), numbers, max_tokens)
        check_finished(walk(automaton, family, rng), numbers)
        assert len(automaton.ids) <= max_tokens


@pytest.mark.parametrize("family", FAMILIES)
def test_what_was_written_solves_to_the_same_once_it_is_tokenized_again(family: str) -> None:
    rust = tokenizer(family).backend_tokenizer
    for seed in range(60):
        numbers = grounded_numbers(problems()[seed % len(problems())].question)
        text = walk(Automaton(vocabulary(family), numbers, 400), family, Random(seed))
        again = rust.decode(rust.encode(text, add_special_tokens=False).ids, skip_special_tokens=False)
        assert solve(read(again, is_grounded=True)) == solve(read(text, is_grounded=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_one_that_is_replayed_goes_on_as_the_first_does(family: str) -> None:
    for seed in range(20):
        numbers = grounded_numbers(problems()[seed].question) if seed % 2 else None
        first = Automaton(vocabulary(family), numbers, 300)
        for stop in range(3):
            other = first.replayed()
            assert (other.ids, other.choice) == (first.ids, first.choice), stop
            before = list(first.ids)
            walk(other, family, Random(seed))
            assert first.ids == before, "they are apart"
            for _ in range(5 if first.choice else 0):
                step(first, family, Random(seed + stop))
        walk(other := first.replayed(), family, Random(seed))
        walk(first, family, Random(seed))
        assert (other.ids, other.choice) == (first.ids, None)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("max_tokens", [6000, 40_000])
def test_walks_that_avoid_the_end_stay_within_the_limits_of_the_language(family: str, max_tokens: int) -> None:
    for seed in range(6):
        numbers = grounded_numbers(problems()[seed].question) if seed % 2 else None
        automaton = Automaton(vocabulary(family), numbers, max_tokens)
        text = walk_far(automaton, family, Random(seed))
        check_finished(text, numbers)
        assert len(automaton.ids) <= max_tokens and len(text) <= MAX_BYTES
        assert text.count("expert:") <= MAX_PARTS
        assert max(part.count("{op:") for part in text.split("expert:")) <= MAX_STEPS


LONG = f"t{'_' * 30}c"  # a name of many tokens
LONG_DERIVED = (  # what is made, or changed, has such a name: to query it takes more than to compute something else
    f"- {{op: init, var: a, value: 3}}\n- {{op: compute, compute_op: add, args: [a, a], var: {LONG}}}\n"
    f"- {{op: add_entity, entity: {LONG}, amount: 3}}\n- {{op: add_entity, entity: {LONG}, amount: 2}}\n",
    f"- {{op: init, var: {LONG}, value: 3}}\n- {{op: init, var: b, value: 3}}\n"
    f"- {{op: consume, entity: {LONG}, amount: 2}}\n- {{op: consume, entity: {LONG}, amount: 2}}\n",
)


def walk_along(automaton: Automaton, family: str, ids: Sequence[int], rng: Random) -> str:
    """Choose what a text says as long as that is offered, then at random."""
    while (choice := automaton.choice) is not None:
        at, tokens = len(automaton.ids), offered(choice, vocabulary(family))
        assert tokens, written(automaton, family)
        is_along = at < len(ids) and automaton.ids == list(ids[:at]) and ids[at] in tokens
        automaton.take(ids[at] if is_along else rng.choice(tokens))
    return written(automaton, family)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_long_name_leaves_a_way_to_the_end(family: str) -> None:
    for steps in LONG_DERIVED:
        check_long_name(family, steps)


def check_long_name(family: str, steps: str, form: TraceForm = OPERATION_FIRST) -> None:
    """Check that what begins with these steps ends in time, whatever there is room for."""
    ids = vocabulary(family).word(f"expert: entity_track\ntrace:\n{steps}")
    for max_tokens in range(len(ids) // 2, len(ids) + 50, 2):
        automaton = Automaton(vocabulary(family), ("3", "2"), max_tokens, form=form)
        check_finished(walk_along(automaton, family, ids, Random(max_tokens)), ("3", "2"))
        assert len(automaton.ids) <= max_tokens


# --- what gold traces need -------------------------------------------------------------------------------------


def drive(family: str, numbers: Numbers, text: str, max_tokens: int = 900) -> str:
    """Write the canonical tokens of a text as far as they are offered; return the text up to where one is refused."""
    words = vocabulary(family)
    tokens = words.word(text)
    at, _ = follow(Automaton(words, numbers, max_tokens), words, tokens)
    return text if at == len(tokens) else "".join(token_texts(family)[token] for token in tokens[:at])


SUM_OF_ELEVEN = """expert: arithmetic
trace:
- {op: init, var: jan.sales, value: 16}
- {op: init, var: feb.sales_2, value: 3}
- {op: compute, compute_op: add, args: [jan.sales, feb.sales_2, jan.sales, jan.sales, feb.sales_2, jan.sales, jan.sales, feb.sales_2, jan.sales, jan.sales, jan.sales], var: year.total.sum}
- {op: query, var: year.total.sum}"""
THREE_PARTS = """- expert: percentage
  trace:
  - {op: init, var: price, value: 80}
  - {op: init, var: rate, value: 12.5}
  - {op: percent_off, base: price, rate: rate, var: result}
  - {op: query, var: result}
- expert: entity_track
  trace:
  - {op: init, var: ann.coins, source: prev.result}
  - {op: init, var: given, value: 2/3}
  - {op: consume, entity: ann.coins, amount: given}
  - {op: transfer, from: ann.coins, to: bob.coins, amount: 5}
  - {op: add_entity, entity: bob.coins, amount: given}
  - {op: query, var: bob.coins}
- expert: comparison
  trace:
  - {op: init, var: first, source: sub0.result}
  - {op: init, var: second, source: sub1.result}
  - {op: compute, compute_op: sub, args: [first, second], var: difference}
  - {op: compute, compute_op: mul, args: [difference, difference, first], var: X}
  - {op: query, var: X}"""


@cache
def compositions() -> list[tuple[str, tuple[str, ...]]]:
    """Return 500 gold traces of several parts, each with the numbers its question grounds."""
    composed = [schema for schema in load_schemas().values() if schema.expert == "composition"]
    drawn = [draw(composed[number % len(composed)], 12, number) for number in range(500)]
    return [(problem.trace or "", grounded_numbers(problem.question)) for problem in drawn]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_composition_is_offered_token_by_token(family: str) -> None:
    for gold, numbers in compositions()[:: 1 if family in families.NAMES else 5]:
        assert gold.startswith("- expert:")
        assert drive(family, numbers, gold + END) == gold + END


@pytest.mark.parametrize("family", FAMILIES)
def test_every_gold_trace_is_offered_token_by_token(family: str) -> None:
    for gold, numbers in golds():
        for allowed in (numbers, None):
            assert drive(family, allowed, gold + END) == gold + END


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("trace", [SUM_OF_ELEVEN, THREE_PARTS], ids=["sum_of_eleven", "three_parts"])
def test_traces_beyond_those_of_the_schemas_are_offered_token_by_token(family: str, trace: str) -> None:
    for allowed in (("16", "3", "80", "12.5", "2/3", "5"), None):
        assert drive(family, allowed, trace + END) == trace + END


def forced_share(words: Vocabulary) -> float:
    """Return the share of gold tokens that nobody has to choose."""
    counts = []
    for gold, numbers in golds():
        tokens = words.word(gold + END)
        written, chosen = follow(Automaton(words, numbers, 900), words, tokens)
        assert written == len(tokens)
        counts.append((written, chosen))
    return 1 - sum(chosen for _, chosen in counts) / sum(written for written, _ in counts)


def test_most_tokens_of_gold_traces_are_forced() -> None:
    assert forced_share(vocabulary("tiny")) >= 0.6


REAL_NAMES = ["tinyllama", "llama32", "smollm2"]


def real(name: str) -> Vocabulary:
    """Return the vocabulary of a real model, if its tokenizer is at hand."""
    from transformers import PreTrainedTokenizerFast

    if not (REAL / name).is_dir():
        pytest.skip(f"no tokenizer in {REAL / name}")
    return Vocabulary(PreTrainedTokenizerFast.from_pretrained(REAL / name))


@pytest.mark.parametrize("name", REAL_NAMES)
def test_more_are_forced_with_the_vocabularies_of_real_models(name: str) -> None:
    assert forced_share(real(name)) >= 0.7


@cache
def compiled() -> list[tuple[str, tuple[str, ...]]]:
    """Return the traces that GSM-8K's training split compiles to, with the numbers their questions ground."""
    if not GSM8K.is_file():
        pytest.skip(f"no {GSM8K}")
    rows = (json.loads(line) for line in GSM8K.read_text(encoding="utf-8").splitlines())
    outcomes = [compile_row(row, str(at)) for at, row in enumerate(rows)]
    problems = [outcome.problem for outcome in outcomes if isinstance(outcome, Compiled) and outcome.grounded]
    return [(problem.trace or "", grounded_numbers(problem.question)) for problem in problems]


@pytest.mark.parametrize("name", [*FAMILIES, *REAL_NAMES])
def test_grounded_traces_compiled_from_gsm8k_are_offered_token_by_token(name: str) -> None:
    """Each family reads other rows; eval/bench/families.py has all of them read all."""
    words = real(name) if name in REAL_NAMES else vocabulary(name)
    share = compiled()[[*FAMILIES, *REAL_NAMES].index(name) :: 13]
    assert len(share) > 500
    for gold, numbers in share:
        tokens = words.word(gold + END)
        assert follow(Automaton(words, numbers, 900), words, tokens)[0] == len(tokens), gold


# --- scope -----------------------------------------------------------------------------------------------------

EGGS = "expert: arithmetic\ntrace:\n- {op: init, var: eggs, value: 16}\n- {op: init, var: eaten, value: 3}\n"
LEFT = EGGS + "- {op: compute, compute_op: sub, args: [eggs, eaten], var: left}\n"
COINS = LEFT.replace("arithmetic", "entity_track")
SECOND = (
    "- expert: arithmetic\n  trace:\n  - {op: init, var: a, value: 3}\n"
    "  - {op: compute, compute_op: add, args: [a, a], var: b}\n  - {op: query, var: b}\n"
    "- expert: comparison\n  trace:\n  - {op: init, var: c, "
)
REFUSED = {  # from « to » stands what must not be written
    "an expert there is not": "expert: «nobody»\n",
    "a use before anything is defined": "expert: arithmetic\ntrace:\n- {op: «compute», compute_op: add,",
    "an undefined argument": EGGS + "- {op: compute, compute_op: sub, args: [eggs, «ghost]», var: left}\n",
    "an undefined base": EGGS.replace("arithmetic", "percentage") + "- {op: percent_of, base: «ghost», rate: eaten,",
    "an undefined entity": COINS + "- {op: consume, entity: «ghost», amount: eaten}\n",
    "an undefined amount": COINS + "- {op: consume, entity: eggs, amount: «ghost»}\n",
    "its own result": EGGS + "- {op: compute, compute_op: add, args: [eggs, «left]», var: left}\n",
    "another init": EGGS + "- {op: init, var: «eggs,» value: 3}\n",
    "a result of the same name": EGGS + "- {op: compute, compute_op: sub, args: [eggs, eaten], var: «eggs}\n»",
    "a query before anything is derived": EGGS + "- {op: «query», var: eggs}\n",
    "a query of what was copied": LEFT + "- {op: query, var: «eggs»}\n",
    "a query of nothing": LEFT + "- {op: query, var: «ghost»}\n",
    "a step after the query": LEFT + "- {op: query, var: left}\n«- {op: query, var: left}\n»",
    "an op of another expert": LEFT + "- {op: «consume», entity: eggs, amount: eaten}\n",
    "an op there is not": LEFT + "- {op: «divide», entity: eggs, amount: eaten}\n",
    "another operation": EGGS + "- {op: compute, compute_op: «pow», args: [eggs, eaten], var: left}\n",
    "a source in the first part": "- expert: arithmetic\n  trace:\n  - {op: init, var: a, «source: prev».result}\n",
    "a source in a single trace": "expert: arithmetic\ntrace:\n- {op: init, var: a, «source: prev».result}\n",
    "the source of a part to come": SECOND + "source: «sub2.result»}\n",
    "the source of the part itself": SECOND + "source: «sub1.result»}\n",
    "a number that the question does not ground": "expert: arithmetic\ntrace:\n- {op: init, var: a, value: «17}»\n",
    "an amount that it does not ground": COINS + "- {op: consume, entity: eggs, amount: «9»}\n",
    "a negative amount": COINS + "- {op: consume, entity: eggs, amount: «-3»}\n",
    "a literal operand": EGGS + "- {op: compute, compute_op: sub, args: [eggs, «3]», var: left}\n",
    "a name as a value": EGGS + "- {op: init, var: more, «value: eggs»}\n",
    "a transfer to itself": COINS + "- {op: transfer, from: eggs, to: «eggs,» amount: 3}\n",
    "sub of one": EGGS + "- {op: compute, compute_op: sub, args: [«eggs]», var: left}\n",
    "sub of three": EGGS + "- {op: compute, compute_op: sub, args: [eggs, eaten«, eaten]», var: left}\n",
    "a name that begins with a digit": EGGS + "- {op: init, «var: 7up,» value: 3}\n",
    "a name of two dots": EGGS + "- {op: init, var: a.«.b,» value: 3}\n",
    "a name that ends in a dot": EGGS + "- {op: init, var: a.«, value: 3}\n»",
}
MISSPELT = {  # among the numbers that the model spells itself
    "a division by zero": "1/«0}\n»", "a comma": "80«,000}\n»", "a sign": "«-3}\n»", "no integer part": "«.5}\n»",
    "an exponent": "1«e3}\n»", "two points": "1.5«.2}\n»", "a point and a slash": "1.5«/2}\n»", "a bare point": "1.«}\n»",
}  # fmt: skip


def check_refused(family: str, numbers: Numbers, marked: str) -> None:
    """Check that a text is offered up to «, or the space before it, and no longer at »."""
    start, end = marked.index("«"), marked.index("»") - 1
    accepted = drive(family, numbers, marked.replace("«", "").replace("»", ""))
    assert start - 1 <= len(accepted) < end, accepted


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("marked", REFUSED.values(), ids=REFUSED)
def test_what_breaks_a_rule_is_not_offered(family: str, marked: str) -> None:
    check_refused(family, ("16", "3", "-3"), marked)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("number", MISSPELT.values(), ids=MISSPELT)
def test_what_is_no_number_is_not_offered(family: str, number: str) -> None:
    check_refused(family, None, "expert: arithmetic\ntrace:\n- {op: init, var: a, value: " + number)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("number", ["17", "0.25", "1/3", "0", "1234567", "100/7"])
def test_without_grounding_any_number_is_offered(family: str, number: str) -> None:
    text = f"expert: arithmetic\ntrace:\n- {{op: init, var: a, value: {number}}}\n"
    assert drive(family, None, text) == text
    assert drive(family, ("16", "3"), text) != text


@pytest.mark.parametrize("family", FAMILIES)
def test_a_trace_has_no_more_parts_than_may_be(family: str) -> None:
    part = SECOND[: SECOND.rindex("- expert")]
    assert drive(family, None, part * MAX_PARTS + "```", 4000) == part * MAX_PARTS + "```"
    assert drive(family, None, part * (MAX_PARTS + 1) + "```", 4000) == part * MAX_PARTS


@pytest.mark.parametrize("family", FAMILIES)
def test_a_computation_has_no_more_args_than_may_be(family: str) -> None:
    for count in (MAX_ARGS, MAX_ARGS + 1):
        text = f"{EGGS}- {{op: compute, compute_op: add, args: [{', '.join(['eggs'] * count)}], var: left}}\n"
        assert (drive(family, None, text) == text) == (count == MAX_ARGS)


# --- the budget ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_the_shortest_budget_is_enough_and_one_token_less_is_said_to_be_too_few(family: str) -> None:
    for numbers in (None, ("16", "3"), ("1234567",)):
        least = shortest(family, numbers)
        for seed in range(40):
            automaton = Automaton(vocabulary(family), numbers, least)
            check_finished(walk(automaton, family, Random(seed)), numbers)
            assert len(automaton.ids) <= least
        with pytest.raises(UserError, match=f"max_tokens is {least - 1}, and the shortest trace takes {least} tokens"):
            Automaton(vocabulary(family), numbers, least - 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_budget_forbids_little_of_what_would_fit(family: str) -> None:
    words = vocabulary(family)
    for gold, numbers in golds():
        longest = max(map(len, re.findall(r"(?:var|entity|to): ([\w.]+)", gold)))
        kept = max(30, 2 * longest + 6)  # for a name, whose characters may each take a token, where it stands and used
        if re.search("op: (consume|add_entity|transfer)", gold):  # then nothing need be derived any more
            kept += len(words.word("- {op: compute, compute_op: add, args: [a, a], var: b}\n"))
        assert drive(family, numbers, gold + END, len(words.word(gold + END)) + kept) == gold + END


# --- an independent oracle -------------------------------------------------------------------------------------


class State(NamedTuple):
    """What decides the next line: the lines so far, and what a reader takes from them."""

    before: str
    expert: str
    variables: tuple[str, ...]
    derived: tuple[str, ...]
    parts: int = 0  # earlier ones


STATES = [  # each with some legal lines
    (State("expert: arithmetic\ntrace:\n", "arithmetic", (), ()), ["- {op: init, var: eggs, value: 16}\n"]),
    (State(EGGS, "arithmetic", ("eggs", "eaten"), ()),
     ["- {op: compute, compute_op: mul, args: [eaten, eggs, eaten], var: l_2}\n", "- {op: init, var: egg, value: 3}\n"]),
    (State(LEFT, "arithmetic", ("eggs", "eaten", "left"), ("left",)),
     ["- {op: init, var: a.left, value: 1/3}\n", "- {op: query, var: left}\n",
      "- {op: compute, compute_op: sub, args: [left, left], var: lefts}\n"]),
    (State(LEFT.replace("arithmetic", "percentage"), "percentage", ("eggs", "eaten", "left"), ("left",)),
     ["- {op: percent_off, base: eaten, rate: left, var: r}\n", "- {op: percent_of, base: left, rate: eggs, var: s}\n"]),
    (State(COINS, "entity_track", ("eggs", "eaten", "left"), ("left",)),
     ["- {op: transfer, from: eggs, to: bob.eggs, amount: eaten}\n", "- {op: consume, entity: left, amount: 160}\n",
      "- {op: query, var: left}\n"]),
    (State(COINS + "- {op: consume, entity: eggs, amount: 3}\n", "entity_track", ("eggs", "eaten", "left"), ("left", "eggs")),
     ["- {op: query, var: eggs}\n", "- {op: add_entity, entity: eaten, amount: 1.5}\n"]),
    (State(SECOND[: SECOND.rindex("  -")], "comparison", (), (), 1),
     ["  - {op: init, var: b, source: sub0.result}\n", "  - {op: init, var: sub0, value: 16}\n"]),
    (State(SECOND + "value: 3}\n", "comparison", ("c",), (), 1),
     ["  - {op: compute, compute_op: div, args: [c, c], var: D}\n", "  - {op: init, var: b, source: prev.result}\n"]),
]  # fmt: skip
ORACLE_NUMBERS = ("16", "3", "1.5", "1/3", "160")
QUERY = '"query, var: "'
NEW = r"/[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*/"


def framed(state: State, words: Vocabulary) -> tuple[str, str, str]:
    """Return the lines so far, what begins the next one and what ends it: its indent may stand before it in part."""
    begin, end = words.line("  " if state.before.startswith("- ") else "")
    return state.before.removesuffix("\n") + end, begin, end


def any_of(texts: Sequence[str]) -> str:
    """Return a pattern of some texts."""
    return "(" + " | ".join(f'"{text}"' for text in texts) + ")"


def fresh(taken: Sequence[str], longest: int) -> str:
    """Return a pattern of the names that are not taken; those that end in _ are legal, and never offered."""
    ends = r" & /.*[A-Za-z0-9]/" if longest == LONGEST_NAME else ""
    others = f" & ~{any_of(taken)}" if taken else ""
    return f"(NAME & /.{{1,{longest}}}/{ends}{others})"


def patterns(state: State, numbers: Numbers, longest: int) -> Iterator[str]:
    """Yield a pattern of each op's legal lines, where amounts may be numbers and other operands are variables."""
    number = any_of(numbers) if numbers else "NUMERAL"
    new = fresh(state.variables, longest)
    sources = ["prev.result", *(f"sub{part}.result" for part in range(state.parts))] if state.parts else []
    source = f' | "source: " {any_of(sources)}' if sources else ""
    yield f'"init, var: " {new} ", " ("value: " {number}{source})'
    if state.derived:
        yield f"{QUERY} {any_of(state.derived)}"
    if not state.variables:
        return
    old = any_of(state.variables)
    some = f'("add" | "mul") ", args: [" {old} (", " {old}){{1,{MAX_ARGS - 1}}}'
    two = f'("sub" | "div") ", args: [" {old} ", " {old}'
    yield f'"compute, compute_op: " ({some} | {two}) "], var: " {new}'
    if state.expert == "percentage":
        yield f'/percent_(of|off|increase)/ ", base: " {old} ", rate: " {old} ", var: " {new}'
    if state.expert == "entity_track":
        yield f'/consume|add_entity/ ", entity: " {old} ", amount: " ({old} | {number})'
        for giver in state.variables:
            receiver = fresh([giver], longest)
            yield f'"transfer, from: {giver}, to: " {receiver} ", amount: " ({old} | {number})'


def oracle(state: State, numbers: Numbers, longest: int, family: str) -> LLMatcher:
    """Return llguidance's matcher of one line."""
    _, begin, end = framed(state, vocabulary(family))
    ends = {True: "\n", False: end}  # after a query nothing is indented
    lines = (
        f"{pattern} {json.dumps('}' + ends[pattern.startswith(QUERY)])}"
        for pattern in patterns(state, numbers, longest)
    )
    grammar = (  # no_forcing: all tokenizations are legal, not only what it takes for the canonical one
        '%llguidance {"no_forcing": true}\n'
        f"start: LINE\nNAME: {NEW}\nNUMERAL: /[0-9]+(\\.[0-9]+|\\/[1-9][0-9]*)?/ & /.{{1,17}}/\n"
        f'LINE: "{begin}- {{op: " ({" | ".join(lines)})\n'
    )
    return LLMatcher(guide(family), LLMatcher.grammar_from_lark(grammar))


@cache
def guide(family: str) -> LLTokenizer:
    """Return llguidance's own reading of a tokenizer."""
    return from_tokenizer(tokenizer(family))


def legal(matcher: LLMatcher, size: int) -> set[int]:
    """Return the tokens that may come next for the oracle."""
    bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little")
    return set(np.flatnonzero(bits[:size]).tolist())


def at_line(state: State, numbers: Numbers, family: str) -> Automaton:
    """Return an automaton that has written the lines so far."""
    words = vocabulary(family)
    automaton = Automaton(words, numbers, 400)
    before = words.word(framed(state, words)[0])
    assert follow(automaton, words, before)[0] == len(before)
    return automaton


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("numbers", [ORACLE_NUMBERS, None], ids=["grounded", "ungrounded"])
@pytest.mark.parametrize("state", [state for state, _ in STATES], ids=range(len(STATES)))
def test_an_oracle_allows_all_that_is_offered(state: State, numbers: Numbers, family: str) -> None:
    words, rng = vocabulary(family), Random(1)
    start = len(words.word(framed(state, words)[0]))
    for _ in range(12):
        automaton, matcher = at_line(state, numbers, family), oracle(state, numbers, LONGEST_NAME + 2, family)
        at = start
        while True:
            while at < len(automaton.ids) and not matcher.is_stopped():
                assert matcher.consume_token(automaton.ids[at]), matcher.get_error()
                at += 1
            if matcher.is_stopped():
                break
            assert automaton.choice is not None
            choices = offered(automaton.choice, words)
            assert legal(matcher, words.size).issuperset(choices)
            automaton.take(rng.choice([*choices, *(20 * automaton.choice.ids)]))
        assert matcher.is_accepting() and not matcher.is_error()


def reaches(state: State, numbers: Numbers, family: str, choices: tuple[int, ...], target: str) -> bool:
    """Tell whether some choices after these make a line begin with the target."""
    words, texts = vocabulary(family), token_texts(family)
    automaton = at_line(state, numbers, family)
    for token in choices:
        automaton.take(token)
    line = "".join(texts[token] for token in automaton.ids[len(words.word(framed(state, words)[0])) :])
    if line.startswith(target) or automaton.choice is None or not target.startswith(line):
        return line.startswith(target)
    left = target[len(line) :]
    fitting = [token for token in offered(automaton.choice, words)
               if texts[token] and (left.startswith(texts[token]) or texts[token].startswith(left))]  # fmt: skip
    fitting.sort(key=lambda token: -len(texts[token]))
    return any(reaches(state, numbers, family, (*choices, token), target) for token in fitting)


def alternatives(state: State, line: str, numbers: Numbers, family: str) -> set[str]:
    """Return how a line might go on, for the oracle but not in a token that is offered or forced."""
    words, texts = vocabulary(family), token_texts(family)
    automaton, matcher = at_line(state, numbers, family), oracle(state, numbers, LONGEST_NAME, family)
    before, begin, end = framed(state, words)
    line = begin + line.strip() + ("\n" if "op: query" in line else end)
    tokens, targets, so_far = words.word(before + line), set(), ""
    for at in range(len(words.word(before)), len(tokens)):
        is_chosen = at == len(automaton.ids) and automaton.choice is not None
        allowed = offered(automaton.choice, words) if is_chosen and automaton.choice else [tokens[at]]
        targets |= {so_far + texts[token] for token in legal(matcher, words.size).difference(allowed)}
        if is_chosen:
            automaton.take(tokens[at])
        assert matcher.consume_token(tokens[at]), matcher.get_error()
        so_far += texts[tokens[at]]
    assert so_far == line and matcher.is_stopped()
    return targets


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("numbers", [ORACLE_NUMBERS, None], ids=["grounded", "ungrounded"])
@pytest.mark.parametrize(("state", "lines"), STATES, ids=range(len(STATES)))
def test_what_the_oracle_allows_can_be_written_in_canonical_tokens(
    state: State, lines: list[str], numbers: Numbers, family: str
) -> None:
    targets = {target for line in lines for target in alternatives(state, line, numbers, family)}
    assert [target for target in targets if not reaches(state, numbers, family, (), target)] == []
