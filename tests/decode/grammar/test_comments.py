"""The constraint in the form `commented`: reasons where golds have them, on one bounded line, and a trace in time."""

import re
from functools import cache, partial
from random import Random

import numpy as np
import pytest

from mlx_trace.config_decoding import Rule
from mlx_trace.decode.grammar.automaton import Automaton
from mlx_trace.decode.grammar.follow import follow
from mlx_trace.decode.grammar.rules import rules_for
from mlx_trace.decode.grammar.vocabulary import COMMENT, Mask, Vocabulary
from mlx_trace.errors import UserError
from mlx_trace.language.comments import LONGEST_COMMENT, PROSE, is_comment
from mlx_trace.language.knowledge import grounded_numbers
from mlx_trace.language.syntax import render
from mlx_trace.problems.forms import in_form
from mlx_trace.problems.synthetic.generator import draw
from mlx_trace.problems.synthetic.schema import load_schemas
from tests.decode.grammar import test_automaton as tested
from tests.decode.grammar.test_vocabulary import (
    CANONICAL,
    CHARACTERS,
    FAMILIES,
    WORDS,
    encode,
    made,
    token_texts,
    tokenizer,
    vocabulary,
)

FORM = "commented"
LONGEST_LINE = LONGEST_COMMENT + 32  # the last token may reach beyond
MORE = 3 * LONGEST_COMMENT  # tokens: small vocabularies spell words


@cache
def golds() -> list[tuple[str, tuple[str, ...]]]:
    drawn = [draw(schema, 11, 0) for schema in load_schemas().values()]
    return [(in_form(problem, FORM) or "", grounded_numbers(problem.question)) for problem in drawn]


@cache
def shortest(family: str, numbers: tested.Numbers) -> int:
    with pytest.raises(UserError, match="the shortest trace takes") as error:
        Automaton(vocabulary(family), numbers, 3, form=FORM)
    return int(re.findall(r"\d+", str(error.value))[-1])


@pytest.fixture(autouse=True)
def commented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tested, "Automaton", partial(Automaton, form=FORM))
    monkeypatch.setattr(tested, "render", partial(render, form="name_first"))
    monkeypatch.setattr(tested, "golds", golds)
    monkeypatch.setattr(tested, "shortest", shortest)


def drive(family: str, text: str, max_tokens: int = 2000) -> str:
    return tested.drive(family, ("16", "3"), text, max_tokens)


def check(text: str, has_room: bool = False) -> str:
    """Check where comments stand, and what they hold; return the text without them."""
    lines = text.split("\n")
    for before, line, after in zip(lines, lines[1:], lines[2:], strict=False):
        if is_comment(line):
            assert re.search("trace:|op: (?!init|query)", before) and "op: " in after
            assert re.fullmatch(rf" *# ?[{re.escape(PROSE)}]*", line) and len(line.lstrip()) <= LONGEST_LINE + 1
            assert "op: query" not in after or not has_room
        elif has_room and re.search(r"\{op: (?!query)", line):
            assert is_comment(before) or "op: init" in before, f"without reasons: {line}"
    return "\n".join(line for line in lines if not is_comment(line))


@pytest.mark.parametrize("family", FAMILIES)
def test_walks_end_in_sound_traces_in_time_with_reasons_where_they_belong(family: str) -> None:
    for number in range(60):
        rng = Random(number)
        question = tested.problems()[number % len(tested.problems())].question
        numbers = grounded_numbers(question) if number % 2 else None
        max_tokens = tested.budget(family, numbers, rng) if number % 3 else 3000
        rules = rules_for(question, frozenset({"once", "no_self", "all_used"})) if number % 5 == 0 else None
        automaton = Automaton(vocabulary(family), numbers, max_tokens, rules, FORM)
        text = tested.walk(automaton, family, rng)
        tested.check_finished(check(text, has_room=len(automaton.ids) + MORE < max_tokens), numbers)
        assert len(automaton.ids) <= max_tokens


@pytest.mark.parametrize("family", ["tiny", "SentencePiece", "Qwen2", "Gemma"])
def test_walks_that_avoid_the_end_stay_within_the_limits_of_the_language(family: str) -> None:
    for seed in range(2):
        automaton = Automaton(vocabulary(family), ("16", "3"), 12_000, form=FORM)
        text = tested.walk_far(automaton, family, Random(seed))
        tested.check_finished(check(text), ("16", "3"))
        assert len(automaton.ids) <= 12_000 and len(text) <= tested.MAX_BYTES


@pytest.mark.parametrize("family", FAMILIES)
def test_golds_are_offered_token_by_token(family: str) -> None:
    for gold, numbers in golds()[:: 3 if family in ("tiny", "Qwen2") else 9]:
        assert tested.drive(family, numbers, gold + tested.END, 4000) == gold + tested.END
        length = len(vocabulary(family).word(gold + tested.END))
        longest = max(map(len, re.findall(r"(?:var|entity|to): ([\w.]+)", gold)))
        kept = max(30, 2 * longest + 6) + len(
            vocabulary(family).word("- {op: compute, var: b, compute_op: add, args: [a, a]}\n")
        )
        assert tested.drive(family, numbers, gold + tested.END, length + kept) == gold + tested.END


@pytest.mark.parametrize("family", FAMILIES)
def test_the_shortest_budget_is_enough(family: str) -> None:
    for seed in range(10):
        least = shortest(family, ("16", "3")) + seed
        automaton = Automaton(vocabulary(family), ("16", "3"), least, form=FORM)
        tested.check_finished(check(tested.walk(automaton, family, Random(seed))), ("16", "3"))
        assert len(automaton.ids) <= least


@pytest.mark.parametrize("family", FAMILIES)
def test_one_that_is_replayed_goes_on_as_the_first_does(family: str) -> None:
    first = Automaton(vocabulary(family), ("16", "3"), 300, form=FORM)
    for seed in range(12):
        other = first.replayed()
        assert (other.ids, other.choice) == (first.ids, first.choice)
        tested.step(first, family, Random(seed))


BEGUN = "expert: arithmetic\ntrace:\n# what is left of them\n- {op: init, var: eggs, value: 16}\n"
DONE = BEGUN + "- {op: compute, var: left, compute_op: sub, args: [eggs, eggs]}\n"
REFUSED = {  # from « to » stands what must not be written
    "no reasons": "expert: arithmetic\ntrace:\n«- {op: init»",
    "reasons twice": "expert: arithmetic\ntrace:\n# what is left\n«# of them»\n",
    "reasons among numbers": BEGUN + "«# and more»\n",
    "a query that was no computation": DONE.replace("compute, var: left", "compute, var: x") + "# why\n- {op: «query, var: x}»",
    "a computation without reasons": DONE + "- {op: «compute, var: more»",
    "a number without reasons": DONE + "- {op: «init, var: more»",
    "reasons before nothing": DONE + "# that is it\n«```»",
    "a fence": "expert: arithmetic\ntrace:\n# what ``«`yaml»\n",
    "a brace": "expert: arithmetic\ntrace:\n# what «{op: is»\n",
    "a mark of another language": "expert: arithmetic\ntrace:\n# what «é»\n",
    "a digit first": "expert: arithmetic\ntrace:\n# «16 eggs»\n",
    "nothing": "expert: arithmetic\ntrace:\n#«\n»",
    "more than a line holds": f"expert: arithmetic\ntrace:\n# {'eggs ' * 26}«eggs eggs eggs eggs»\n",
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("marked", REFUSED.values(), ids=REFUSED)
def test_what_breaks_the_form_is_not_offered(family: str, marked: str) -> None:
    end = marked.index("»") - 1
    assert len(drive(family, marked.replace("«", "").replace("»", ""))) < end


@pytest.mark.parametrize("family", FAMILIES)
def test_any_words_may_be_said(family: str) -> None:
    for said in (
        "x",
        "Let's see: 3+4=7 (or so), that's 25% of $1,028.50; isn't it?",
        'so 16-3=13 "eggs" & more!',
        "e" * 99,
    ):
        text = BEGUN.replace("what is left of them", said)
        assert drive(family, text) == text
    assert drive(family, DONE + "- {op: query, var: left}\n```") == DONE + "- {op: query, var: left}\n```"


@pytest.mark.parametrize("family", CANONICAL)
def test_words_alone_are_the_tokens_of_the_whole_text(family: str) -> None:
    for gold, _ in golds()[::20]:
        assert vocabulary(family).word(gold + tested.END) == encode(family, gold + tested.END)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", COMMENT)
def test_a_mask_holds_exactly_the_tokens_that_fit_its_kind_and_limit(family: str, kind: str) -> None:
    rust = tokenizer(family)
    marks = {*rust.all_special_ids, *rust.get_added_vocab().values()}
    pieces = rust.get_vocab()
    marks |= {at for piece, at in pieces.items() if (byte := re.fullmatch("<0x([0-9A-F]{2})>", piece))
              and (chr(int(byte[1], 16)) in {"▁" if c == " " else c for c in pieces} or byte[1] == "20")}  # fmt: skip
    for limit in (1, 32):
        fitting = {at for at, text in enumerate(token_texts(family))
                   if at not in marks and COMMENT[kind].fullmatch(text) and len(text) <= limit}  # fmt: skip
        assert set(np.flatnonzero(vocabulary(family).mask(Mask(kind, limit))).tolist()) == fitting


def test_a_tokenizer_that_cannot_write_all_of_a_comment_is_refused() -> None:
    words = Vocabulary(made([], r" ?\w+| ?[^\s\w]+|\s+"))
    assert follow(Automaton(words, None, 400), words, words.word("expert: arithmetic\n"))[0]
    with pytest.raises(UserError, match=r"commented: the tokenizer has no token for !"):
        Automaton(words, None, 400, form=FORM)


# --- the rule as_said ------------------------------------------------------------------------------------------

EGGS = "A hen lays 16 eggs a day. Tom eats 3 of them. How many eggs are left after 5 days?"


def held(family: str, question: str, text: str, rule: Rule = "as_said") -> str:
    """Return a text up to where the rule refuses it."""
    words = vocabulary(family)
    rules = rules_for(question, frozenset({rule}))
    ids = words.word(text)
    written, _ = follow(Automaton(words, grounded_numbers(question), 2000, rules, FORM), words, ids)
    return text if written == len(ids) else "".join(token_texts(family)[token] for token in ids[:written])


@pytest.mark.parametrize("rule", ["as_said", "as_computed"])
def test_golds_do_as_their_comments_say(rule: Rule) -> None:
    for problem in (draw(schema, 11, 0) for schema in load_schemas().values()):
        gold = (in_form(problem, FORM) or "") + tested.END
        assert held("Qwen2", problem.question, gold, rule) == gold


LEFT = """expert: arithmetic
trace:
# Tom leaves 16-3=13 eggs
- {op: init, var: eggs, value: 16}
- {op: init, var: eggs_eaten, value: 3}
- {op: compute, var: eggs_left, compute_op: sub, args: [eggs, eggs_eaten]}
# In 5 days that is 14*5=70 eggs
- {op: init, var: days, value: 5}
- {op: compute, var: all_eggs, compute_op: mul, args: [eggs_left, days]}
- {op: query, var: all_eggs}"""
REFUSED = [  # what is written otherwise, and up to where that stands
    ("value: 16", "value: 5", "var: eggs, value: "),
    ("- {op: init, var: eggs_eaten, value: 3}\n- {op: compute", "- {op: compute", "- {op:"),
    (
        "compute_op: sub, args: [eggs, eggs_eaten]",
        "compute_op: add, args: [eggs, eggs_eaten]",
        "eggs_left, compute_op:",
    ),
    ("[eggs, eggs_eaten]", "[eggs_eaten, eggs]", "args: ["),
    ("value: 5", "value: 3", "var: days, value: "),
    ("mul, args: [eggs_left, days]", "mul, args: [eggs, days]", "args: ["),
]


@pytest.mark.parametrize("family", ["tiny", "Qwen2", "SentencePiece"])
def test_a_step_does_as_the_comment_before_it_says(family: str) -> None:
    told = LEFT.replace("14*5=70", "13*5=65") + tested.END
    assert held(family, EGGS, told) == told
    for said, other, stands in REFUSED:
        changed = told.replace(said, other)
        written = held(family, EGGS, changed)
        assert changed != told and written != changed and stands.split()[-1] in written[-40:], (other, written[-60:])


def test_a_result_is_known_by_what_was_said_of_it() -> None:
    wrong = LEFT.replace("13 eggs", "14 eggs") + tested.END  # what is said is computed wrongly, and taken up so
    assert held("Qwen2", EGGS, wrong) == wrong


@pytest.mark.parametrize("comment", ["Tom leaves some eggs", "It is 11*13=143", "x=16"])
def test_what_says_nothing_of_this_question_forbids_nothing(comment: str) -> None:
    text = LEFT.replace("Tom leaves 16-3=13 eggs", comment).replace("14*5", "13*5") + tested.END
    assert held("Qwen2", EGGS, text) == text


# --- the rules as_computed and no_repeat -----------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("said", "result"),
    [
        ("Tom leaves 16-3=", "13"),
        ("Tom leaves $16-3=$", "13"),
        ("Tom leaves $16-3=", "13"),
        ("so 10% of 45=", "4.5"),
        ("so 3-16=", "-13"),
        ("first 16-3=13, then 13*50=", "650"),
    ],
)
def test_an_equation_has_the_result_that_comes_out(family: str, said: str, result: str) -> None:
    text = LEFT.replace("Tom leaves 16-3=13", said + result).partition("\n- {")[0]
    assert held(family, EGGS, text, "as_computed") == text
    for other in ("7", f"{result}0", f"{result},000", f"{result}.5"):
        wrong = text.replace(said + result, said + other)
        assert held(family, EGGS, wrong, "as_computed") != wrong and held(family, EGGS, wrong, "as_said") == wrong


@pytest.mark.parametrize(("token", "said", "rest"), [("=$", "Tom leaves $16-3", "13"), ("=-", "so 3-16", "13")])
def test_a_token_may_begin_the_result(token: str, said: str, rest: str) -> None:
    words = Vocabulary(made([(token[0], token[1])], WORDS, "".join(dict.fromkeys(CHARACTERS + PROSE + "#"))))
    rules = rules_for(EGGS, frozenset({"as_computed"}))
    assert words.prose[words.word(f"#{said}{token}")[-1]] == token
    text = LEFT.replace("Tom leaves 16-3=13", f"{said}{token}").partition("\n- {")[0]
    for result in (rest, "7", f"{rest}5"):
        ids = words.word(text.replace(token, token + result))
        written, _ = follow(Automaton(words, grounded_numbers(EGGS), 2000, rules, FORM), words, ids)
        assert (written == len(ids)) == (result == rest), result


def test_what_cannot_be_computed_is_the_model_s_to_say() -> None:
    for said in ("Let us say that x=16", "so 5 times 16-3=65", "half of 16=7"):
        text = LEFT.replace("Tom leaves 16-3=13", said)
        assert held("Qwen2", EGGS, text.partition("\n- {")[0], "as_computed") in text


def test_a_comment_that_comes_a_third_time_is_followed_by_the_query() -> None:
    step = "# again\n- {op: compute, var: OP_of_them, compute_op: OP, args: [eggs, eggs_eaten]}\n"
    text = LEFT.partition("# In 5")[0] + "".join(step.replace("OP", name) for name in ("add", "mul", "div"))
    assert held("Qwen2", EGGS, text + "# a", "once") == text + "# a"
    assert held("Qwen2", EGGS, text + "# a", "no_repeat") == text
    end = text + "- {op: query, var: div_of_them}" + tested.END
    assert held("Qwen2", EGGS, end, "no_repeat") == end
