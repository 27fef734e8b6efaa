"""Rules choose among what the automaton offers: no walk gets stuck, and what is written keeps them."""

from collections import Counter
from fractions import Fraction
from random import Random

import pytest

from mlx_trace.config_decoding import RULES, Rule
from mlx_trace.decode.grammar.automaton import Automaton
from mlx_trace.decode.grammar.follow import follow
from mlx_trace.decode.grammar.rules import PartRules, Rules, rules_for
from mlx_trace.language.experts import Scope
from mlx_trace.language.knowledge import grounded_numbers, may_be_fraction
from mlx_trace.language.measures import measures
from mlx_trace.language.mentions import find_numbers
from mlx_trace.language.numbers import spell
from mlx_trace.language.solver import MAX_STEPS, Entry, solve
from mlx_trace.language.steps import AddEntity, Compute, Consume, Init, InitFrom, Percent, Query, Step, Transfer
from tests.decode.grammar.test_automaton import (
    END,
    Numbers,
    budget,
    check_finished,
    problems,
    read,
    step,
    walk,
)
from tests.decode.grammar.test_vocabulary import FAMILIES, vocabulary

ALL = frozenset(RULES)
WALKS = 40  # in a family
EGGS = "A hen lays 16 eggs a day. Tom eats 3 of them. How many eggs are left after 5 days?"


def automaton(family: str, question: str, numbers: Numbers, max_tokens: int, names: frozenset[Rule] = ALL) -> Automaton:
    return Automaton(vocabulary(family), numbers, max_tokens, rules_for(question, names))


def walked(family: str, number: int, max_tokens: int | None = None) -> tuple[Automaton, str, str, Numbers]:
    """Return a random walk under all rules: its automaton, question, text and numbers."""
    rng = Random(number)
    question = problems()[number % len(problems())].question
    numbers = grounded_numbers(question) if number % 3 else None
    one = automaton(family, question, numbers, max_tokens or budget(family, numbers, rng))
    return one, question, walk(one, family, rng), numbers


# --- what no rule takes away -----------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_every_walk_under_rules_is_one_without_them_and_ends_in_time(family: str) -> None:
    for number in range(WALKS):
        one, _, text, numbers = walked(family, number)
        check_finished(text, numbers)
        assert len(one.ids) <= one._max_tokens
        free = Automaton(vocabulary(family), numbers, one._max_tokens)
        assert follow(free, vocabulary(family), one.ids)[0] == len(one.ids), "rules add nothing"


@pytest.mark.parametrize("family", FAMILIES)
def test_one_that_is_replayed_keeps_its_rules(family: str) -> None:
    for seed in range(5):
        question = problems()[seed].question
        first = automaton(family, question, grounded_numbers(question), 300)
        for _ in range(20):
            step(first, family, Random(seed))
        other = first.replayed()
        assert (other.ids, other.choice) == (first.ids, first.choice)
        assert walk(other, family, Random(seed)) == walk(first, family, Random(seed))


def test_without_rules_nothing_changes() -> None:
    assert rules_for(EGGS, frozenset()) is None


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rule", RULES)
def test_few_gold_traces_break_a_rule(family: str, rule: Rule) -> None:
    words, broken = vocabulary(family), 0
    questions = {gold: problem.question for problem in problems() if (gold := problem.trace)}
    for gold, question in questions.items():
        ids = words.word(gold + END)
        one = automaton(family, question, grounded_numbers(question), 900, frozenset([rule]))
        broken += follow(one, words, ids)[0] < len(ids)
    assert broken <= len(questions) // 50


# --- what they keep away ---------------------------------------------------------------------------------------


def reads(step: Step) -> list[str]:
    """Return the operands of a step, as text."""
    match step:
        case Compute():
            return [str(arg) for arg in step.args]
        case Percent():
            return [str(step.base), str(step.rate)]
        case Consume() | AddEntity() | Transfer():
            return [str(step.amount)]
    return []


def check_part(entries: list[Entry], question: str, numbers: Numbers) -> None:
    """Check a part that ran to its end against all rules, by reading it."""
    steps = [entry.step for entry in entries]
    taken = Counter(spell(step.value) for step in steps if isinstance(step, Init))
    taken += Counter(spell(step.amount) for step in steps
                     if isinstance(step, Consume | AddEntity | Transfer) and isinstance(step.amount, Fraction))  # fmt: skip
    stated = Counter(spell(number) for mention in find_numbers(question) for number in {*mention.readings})
    assert numbers is None or all(count <= stated[number] + 1 for number, count in taken.items())
    values: dict[str, Fraction] = {}
    known = {step.var: measures(question).get(spell(step.value)) for step in steps if isinstance(step, Init)}
    done = set()
    for entry in entries:
        if isinstance(entry.step, Compute):
            first, second = (str(arg) for arg in entry.step.args[:2])
            if entry.step.compute_op in ("sub", "div"):
                assert first != second
            if entry.step.compute_op == "sub":
                assert values[first] >= values[second]
            if entry.step.compute_op == "div" and not may_be_fraction(question):
                assert values[first] >= values[second]
            if entry.step.compute_op in ("add", "sub"):
                found = [measured for arg in entry.step.args if (measured := known.get(str(arg)))]
                assert not found or frozenset.intersection(*found)
            key = (entry.step.compute_op, *((str(arg), values[str(arg)]) for arg in entry.step.args))
            assert key not in done
            done.add(key)
        values |= entry.changed
    for at, one in enumerate(steps):
        if isinstance(one, Init | InitFrom | Compute | Percent):
            later = {name for other in steps[at + 1 :] for name in (*reads(other), *touched(other))}
            assert one.var in later, f"{one.var} is not used"
    assert isinstance(steps[-1], Query)
    last = max(at for at, step in enumerate(steps[:-1]) if steps[-1].var in made(step))
    assert all(steps[-1].var not in reads(step) for step in steps[last + 1 :])


def touched(step: Step) -> list[str]:
    """Return the entities that a step changes, or the variable that is the answer."""
    match step:
        case Consume() | AddEntity():
            return [step.entity]
        case Transfer():
            return [step.from_, step.to]
        case Query():
            return [step.var]
    return []


def made(step: Step) -> list[str]:
    """Return what a step computes or changes."""
    return [step.var] if isinstance(step, Compute | Percent) else touched(step)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_written_keeps_all_rules_where_there_is_room(family: str) -> None:
    """As room or steps run out, they yield."""
    checked = 0
    for number in range(WALKS):
        one, question, text, numbers = walked(family, number, 3000)
        ledger: list[Entry] = []
        trace = read(text, is_grounded=numbers is not None)
        outcome = solve(trace, ledger)
        if len(one.ids) > 2500 or not hasattr(outcome, "answer"):
            continue
        for at, part in enumerate(trace.parts):
            if len(part.steps) + 4 < MAX_STEPS:
                check_part([entry for entry in ledger if entry.part == at], question, numbers)
                checked += 1
    assert checked >= 3


HEAD = "expert: arithmetic\ntrace:\n- {op: init, var: eggs, value: 16}\n- {op: init, var: eaten, value: 3}\n"
LEFT = HEAD + "- {op: compute, compute_op: sub, args: [eggs, eaten], var: left}\n"
ALL_DAYS = (
    LEFT + "- {op: init, var: days, value: 5}\n- {op: compute, compute_op: mul, args: [left, days], var: total}\n"
)
COINS = HEAD.replace("arithmetic", "entity_track")
RATES = HEAD.replace("arithmetic", "percentage")
REFUSED: dict[str, tuple[Rule, str]] = {
    "a mention again": ("once", HEAD + "- {op: init, var: more, value: «16}»\n"),
    "a mention again, as an amount": ("once", COINS + "- {op: consume, entity: eggs, amount: «3}»\n"),
    "a constant that nothing calls for": ("called_constants", HEAD + "- {op: init, var: more, value: «1760}»\n"),
    "x - x": ("no_self", HEAD + "- {op: compute, compute_op: sub, args: [eggs, «eggs]», var: left}\n"),
    "x ÷ x": ("no_self", HEAD + "- {op: compute, compute_op: div, args: [eaten, «eaten]», var: left}\n"),
    "a share of itself": ("no_self", RATES + "- {op: percent_of, base: eggs, rate: «eggs»,"),
    "all of itself": ("no_self", COINS + "- {op: consume, entity: eggs, amount: «eggs»}\n"),
    "a difference again": ("no_repeat", LEFT + "- {op: compute, compute_op: sub, args: [eggs, «eaten]», var: l}\n"),
    "a sum the other way round": (
        "no_repeat",
        LEFT.replace("sub", "add") + "- {op: compute, compute_op: add, args: [eaten, «eggs]», var: l}\n",
    ),
    "a difference below zero": (
        "no_negative",
        HEAD + "- {op: compute, compute_op: sub, args: [eaten, «eggs]», var: l}\n",
    ),
    "more than there is": ("no_negative", COINS + "- {op: consume, entity: eaten, amount: «eggs»}\n"),
    "eggs less days": (
        "no_mixing",
        HEAD + "- {op: init, var: days, value: 5}\n- {op: compute, compute_op: sub, args: [eggs, «days]», var: l}\n",
    ),
    "eggs and what is left of days": (
        "no_mixing",
        HEAD + "- {op: init, var: days, value: 5}\n- {op: compute, compute_op: sub, args: [days, eaten], var: l}\n"
        "- {op: compute, compute_op: add, args: [eggs, «l]», var: m}\n",
    ),
    "days out of eggs": ("no_mixing", COINS + "- {op: consume, entity: eggs, amount: «5}»\n"),
    "a total with days in it": (
        "no_mixing",
        ALL_DAYS.replace("mul, args: [left, days]", "mul, args: [left, eggs]").replace("total", "things")
        + "- {op: compute, compute_op: sub, args: [things, «days]», var: m}\n",
    ),
    "an answer in days where eggs are asked for": (
        "as_asked",
        LEFT.replace("var: eggs, value: 16", "var: eggs, value: 5") + "- {op: «query», var: left}\n",
    ),
    "an answer beside what is not used": (
        "all_used",
        LEFT + "- {op: init, var: days, value: 5}\n- {op: «query», var: left}\n",
    ),
    "an answer that was used": ("all_used", ALL_DAYS + "- {op: query, var: «left»}\n"),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("rule", "marked"), REFUSED.values(), ids=REFUSED)
def test_what_breaks_a_rule_is_offered_only_without_it(family: str, rule: Rule, marked: str) -> None:
    words = vocabulary(family)
    start, end = marked.index("«"), marked.index("»") - 1
    ids = words.word(marked.replace("«", "").replace("»", ""))
    others: frozenset[Rule] = frozenset(RULES) - {rule} - ({"no_self"} if "itself" in marked else set())
    for names, refuses in ((frozenset([rule]), True), (others, False), (frozenset(), False)):
        if not refuses and rule == "all_used":
            names -= {"once"}
        one = Automaton(words, grounded_numbers(EGGS), 900, rules_for(EGGS, names))
        at = follow(one, words, ids)[0]
        text = str(words._decode(list(ids[:at])))
        assert (start - 2 <= len(text.lstrip()) < end) if refuses else at == len(ids), (names, text)


@pytest.mark.parametrize("family", FAMILIES)
def test_where_the_model_spells_numbers_no_amount_that_breaks_a_rule_is_offered(family: str) -> None:
    """Beside one's own number no variable has to stand."""
    words, text = vocabulary(family), HEAD.replace("arithmetic", "entity_track").replace("16", "2")
    for amount, stands in (("eaten", False), ("1", True)):
        ids = words.word(text + f"- {{op: consume, entity: eggs, amount: {amount}}}\n")
        one = automaton(family, EGGS, None, 900, frozenset({"no_negative", "no_self"}))
        assert (follow(one, words, ids)[0] == len(ids)) == stands


@pytest.mark.parametrize("family", FAMILIES)
def test_a_quotient_of_counted_things_is_not_less_than_one(family: str) -> None:
    words = vocabulary(family)
    ids = words.word(HEAD + "- {op: compute, compute_op: div, args: [eaten, eggs], var: l}\n")
    for question, stands in (("16 eggs and 3 eaten.", False), ("16 eggs and 3 eaten. What share?", True)):
        one = automaton(family, question, grounded_numbers(question), 900, frozenset({"no_fraction"}))
        assert (follow(one, words, ids)[0] == len(ids)) == stands


@pytest.mark.parametrize("family", FAMILIES)
def test_gold_with_everything_in_it_keeps_all_rules(family: str) -> None:
    words, text = vocabulary(family), ALL_DAYS + "- {op: query, var: total}" + END
    one = automaton(family, EGGS, grounded_numbers(EGGS), 900)
    assert follow(one, words, words.word(text))[0] == len(words.word(text))


# --- what a question lets be taken -----------------------------------------------------------------------------


def rules(question: str) -> Rules:
    found = rules_for(question, ALL)
    assert found is not None
    return found


def test_a_number_is_taken_as_often_as_it_is_stated() -> None:
    (supply,) = rules("Ann has 4 pens, Bob has 4 pens and 9 books. How many things are there?").supplies or ()
    assert (supply["4"], supply["9"], supply.get("60", 0)) == (2, 1, 0)
    many = "Half of 8, a third of 9, " * 7
    assert len(rules(f"{many}how many?").supplies or ()) == 1, "too many ways to read them are not told apart"


@pytest.mark.parametrize(
    ("question", "values", "stands"),
    [
        ("A ticket costs $24, and children pay half of that. What does one pay?", "24 2", True),
        ("A ticket costs $24, and children pay half of that. What does one pay?", "24 0.5", True),
        ("A ticket costs $24, and children pay half of that. What does one pay?", "24 2 0.5", False),
        ("A ticket costs $24, and children pay half of that. What does one pay?", "24 0.5 0.5", False),
        ("Half of 24 is for Ann, half of the rest for Bo. How many?", "24 0.5 2", True),
        ("Half of 24 is for Ann, half of the rest for Bo. How many?", "24 2 2 0.5", False),
        ("She eats two-thirds of 30 plums. How many?", "30 2 3", True),
        ("She eats two-thirds of 30 plums. How many?", "30 2/3 3", False),
        ("A $13 lunch is paid with a $20 note. What is the change?", "20 13 100", False),
        ("How many cents are $3?", "3 100", True),
    ],
)
def test_a_mention_is_taken_by_its_value_or_by_its_parts(question: str, values: str, stands: bool) -> None:
    ruling, offered = PartRules(rules(question), Scope(), grounded_numbers(question), True), []
    for index, value in enumerate(values.split()):
        offered.append(ruling.lets_number(value))
        ruling.note("init", {"var": f"v{index}", "value": value})
    assert offered == [True] * (len(offered) - 1) + [stands]


@pytest.mark.parametrize(
    ("question", "called", "uncalled"),
    [
        ("She runs 8 laps of 3 minutes. How many hours?", ["60"], ["100", "52"]),
        ("He buys 3 boxes, 20% off. What is the price?", ["100"], ["60", "7"]),
        ("They sleep 8 hours each night. How many in a week?", ["7", "24"], ["1000", "1760"]),
        ("A bag of 3 kg is shared. How many grams?", ["1000"], ["52", "60"]),
    ],
)
def test_constants_are_called_for_by_words(question: str, called: list[str], uncalled: list[str]) -> None:
    supplies = rules(question).supplies
    assert supplies
    for supply in supplies:
        assert all(supply[number] for number in called)
        assert not any(supply.get(number) for number in uncalled)


def test_a_question_without_numbers_calls_for_any() -> None:
    assert rules("How many legs do they have?").others == 1
    assert rules("How many legs do 3 hens have?").others == 0


def test_what_may_stand_below_zero_is_let() -> None:
    assert "no_negative" not in rules("It was 5 degrees and fell by 8 degrees.").names
    assert "no_negative" in rules(EGGS).names


def test_what_is_measured_paid_or_shared_may_be_less_than_one() -> None:
    assert "no_fraction" in rules("A hall has 14 rows of 22 seats. How many seats are there?").names
    for question in (
        "3 friends share 2 pizzas.",
        "12 pens cost $9.",
        "3 of 12 balls are red. What percentage?",
        "2 kg for 5 cows.",
    ):
        assert "no_fraction" not in rules(question).names
