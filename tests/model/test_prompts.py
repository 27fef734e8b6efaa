"""One prompt for training and asking, the same every day, and tokenized as the whole text is."""

import os
from pathlib import Path
from typing import Any

import pytest
from mlx_lm.tokenizer_utils import TokenizerWrapper

from mlx_trace.config import Prompt
from mlx_trace.errors import UserError
from mlx_trace.model.base import read_tokenizer
from mlx_trace.model.chat_template import render, stock_template
from mlx_trace.model.prompts import DATE, LONGEST, Prompter, TurnPair
from tests.conftest import byte_level_tokenizer, sentencepiece_tokenizer

TRACE = "expert: arithmetic\ntrace:\n- {op: init, var: eggs, value: 16}\n- {op: query, var: eggs}"
QUESTION = "How many eggs — 80,000 or ½?"
REAL = os.environ.get("MLX_TRACE_TOKENIZERS")  # a folder of tokenizer folders, such as TinyLlama's


def wrap(tokenizer: Any) -> Any:
    return TokenizerWrapper(tokenizer)


def _real() -> list[Any]:
    folders = sorted(Path(REAL).iterdir()) if REAL else []
    return [pytest.param(lambda path=path: read_tokenizer(path, {}), id=path.name) for path in folders if path.is_dir()]


FAMILIES = [
    pytest.param(lambda: wrap(byte_level_tokenizer()), id="byte-level"),
    pytest.param(lambda: wrap(sentencepiece_tokenizer()), id="sentencepiece"),
    *_real(),
]


@pytest.mark.parametrize("make", FAMILIES)
@pytest.mark.parametrize("template", ["chat", "raw"])
def test_a_target_follows_its_prompt_as_one_text_would(make: Any, template: Any) -> None:
    prompter = Prompter(make(), Prompt(template=template))
    prompt, target = prompter.example(QUESTION, TRACE)
    assert prompt == prompter.ids(QUESTION)
    assert target[-1] == prompter.tokenizer.eos_token_id
    assert prompter.decode(target) == TRACE
    whole = prompter.tokenizer.decode(prompt + target[:-1], skip_special_tokens=True)
    assert whole.endswith(f"```yaml\n{TRACE}\n```")
    assert any(id_ in prompter.stop_ids for id_ in target[-3:-1]), "the closing fence stops a reply"


@pytest.mark.parametrize("make", FAMILIES)
def test_no_piece_of_a_reply_begins_with_a_space_that_was_not_there(make: Any) -> None:
    prompter = Prompter(make(), Prompt())
    first = prompter.tokenizer.convert_ids_to_tokens(prompter.example(QUESTION, TRACE)[1])[0]
    assert not first.startswith(("▁", "Ġ"))


def test_the_date_never_changes_a_prompt() -> None:
    text = Prompter(wrap(byte_level_tokenizer()), Prompt()).text(QUESTION)
    assert f"Today Date: {DATE}" in text


def test_the_question_stands_verbatim_and_the_fence_is_open() -> None:
    for template in ("chat", "raw"):
        text = Prompter(wrap(byte_level_tokenizer()), Prompt(template=template)).text(QUESTION)
        assert QUESTION in text
        assert text.endswith("```yaml\n")


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('no system role') if messages[0]['role'] == 'system' }}{% for m in messages %}"
        "[{{ m['role'] }}] {{ m['content'] }}{% endfor %}",
        "{% for m in messages %}{% if m['role'] == 'user' %}[user] {{ m['content'] }}{% endif %}{% endfor %}",
    ],
)
def test_models_without_a_system_role_get_it_with_the_question(template: str) -> None:
    tokenizer = byte_level_tokenizer()
    tokenizer.chat_template = template
    text = Prompter(wrap(tokenizer), Prompt(system="be brief")).text("How many?")
    assert text == "[user] be brief\n\nHow many?```yaml\n"


def test_thinking_is_switched_off() -> None:
    tokenizer = byte_level_tokenizer()
    tokenizer.chat_template = (
        "{{ 'think' if enable_thinking is not defined or enable_thinking else 'plain' }} {{ messages[-1]['content'] }} "
    )
    assert Prompter(wrap(tokenizer), Prompt(system="")).text("How many?") == "plain How many? ```yaml\n"


def test_an_empty_system_prompt_is_left_out() -> None:
    with_system = Prompter(wrap(byte_level_tokenizer()), Prompt())
    without = Prompter(wrap(byte_level_tokenizer()), Prompt(system=""))
    assert "system" in with_system.text("x")
    assert "system" not in without.text("x")
    assert Prompter(wrap(byte_level_tokenizer()), Prompt(template="raw", system="")).text("x").startswith("Question")


def test_a_model_without_a_template_is_told_what_to_set() -> None:
    tokenizer = byte_level_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(UserError, match=r"prompt\.template: raw"):
        Prompter(wrap(tokenizer), Prompt())
    assert Prompter(wrap(tokenizer), Prompt(template="raw")).ids("x")


def test_text_after_the_closing_fence_is_cut() -> None:
    prompter = Prompter(wrap(byte_level_tokenizer()), Prompt())
    ids = prompter.tokenizer.encode(f"{TRACE}\n```\nSo the answer", add_special_tokens=False)
    assert prompter.decode(ids) == TRACE


@pytest.mark.parametrize(
    ("template", "said"),
    [("{% for m in messages %}{{ m['role'] }}{% endfor %}", "leaves the question out"),
     ("{% for m in messages %}{% if m['content'] is not string %}{{ m['content'][0] }}{% endif %}{% endfor %}ask", "leaves the question out"),
     ("{% for m in messages %}", "fails: .*endfor"), ("{{ messages[7].content }}{{ nothing.at.all }}", "fails"),
     ("{{ raise_exception('not for you') }}", "fails: not for you")],
)  # fmt: skip
def test_a_template_that_does_not_ask_the_question_is_refused_at_once(template: str, said: str) -> None:
    tokenizer = byte_level_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(UserError, match=f"template {said}.*raw"):
        Prompter(wrap(tokenizer), Prompt())
    Prompter(wrap(tokenizer), Prompt(template="raw"))


@pytest.mark.parametrize(
    "template",
    ["hello", "{% for m in messages %}{{ m['content'][:60] }}{% endfor %}",
     "{% for m in messages %}{% if m['content'] | length < 30 %}{{ m['content'] }}{% endif %}{% endfor %}",
     "{% for m in messages %}{{ m['content'] | upper }}{% endfor %}", "{{ messages[0]['content'] if messages | length > 1 }}",
     "{% for m in messages %}{% for part in m['content'] %}{{ part['text'] }}{% endfor %}{% endfor %}ask"],
)  # fmt: skip
def test_a_template_that_drops_the_question_or_its_end_is_refused(template: str) -> None:
    tokenizer = byte_level_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(UserError, match=r"leaves the question out of the prompt, or a part of it"):
        Prompter(wrap(tokenizer), Prompt())


def test_every_question_is_looked_for_in_its_prompt() -> None:
    tokenizer = byte_level_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'].split('</think>')[-1] | trim }}{% endfor %}"
    prompter = Prompter(wrap(tokenizer), Prompt())
    assert "Two of 5?" in prompter.text("  Two of 5?\n")
    with pytest.raises(UserError, match=r"a part of it \('Two </think> of 5"):
        prompter.ids("Two </think> of 5?")


def test_a_question_too_long_to_be_one_is_refused() -> None:
    for template in ("chat", "raw"):
        prompter = Prompter(wrap(byte_level_tokenizer()), Prompt(template=template))
        assert prompter.ids("x" * LONGEST)
        with pytest.raises(UserError, match="a question of 50,000 characters, and those that are asked have 10,000"):
            prompter.ids("x" * 50_000)


BEFORE = [TurnPair("How many are 2 and 3?", TRACE), TurnPair("That does not run.", "expert: none")]


@pytest.mark.parametrize("make", FAMILIES)
@pytest.mark.parametrize("template", ["chat", "raw"])
def test_turns_stand_before_the_question_as_any_client_would_send_them(make: Any, template: Any) -> None:
    prompter = Prompter(make(), Prompt(template=template))
    prompter.check_turns()
    text = prompter.text(QUESTION, BEFORE)
    parts = [part for pair in BEFORE for part in (pair.said, f"```yaml\n{pair.reply}\n```")]
    places = [text.index(part) for part in (*parts, QUESTION)]
    assert places == sorted(places) and text.endswith("```yaml\n")
    messages = [
        {"role": role, "content": content} for content, role in zip(parts, ["user", "assistant"] * 2, strict=True)
    ]
    rendered = render(prompter.tokenizer, stock_template(prompter), [*messages, {"role": "user", "content": QUESTION}])
    encoded = list(prompter.tokenizer.encode(rendered, add_special_tokens=False))
    assert encoded == prompter.ids(QUESTION, BEFORE), "a fused model is asked just so"
    assert prompter.ids(QUESTION, BEFORE)[: len(prompter.prefix)] == prompter.prefix, (
        "what all prompts share is read once"
    )
    assert prompter.ids(QUESTION, []) == prompter.ids(QUESTION)


def test_models_without_a_system_role_get_it_with_the_first_turn() -> None:
    tokenizer = byte_level_tokenizer()
    tokenizer.chat_template = "{% for m in messages if m['role'] != 'system' %}[{{ m['content'] }}]{% endfor %}"
    prompter = Prompter(wrap(tokenizer), Prompt(system="Be exact."))
    assert prompter.text("b?", [TurnPair("a?", "c")]).startswith("[Be exact.\n\na?][```yaml\nc\n```][b?]")


@pytest.mark.parametrize(
    ("template", "said"),
    [("{{ messages[-1]['content'] }}", "leaves earlier turns of a conversation out"),
     ("{% for m in messages if m['role'] != 'assistant' %}{{ m['content'] }}{% endfor %}", "leaves earlier turns"),
     ("{% for m in messages | reverse %}{{ m['content'] }}{% endfor %}", "leaves earlier turns"),
     ("{% if messages | length > 2 %}{{ raise_exception('one turn') }}{% endif %}{{ messages[-1]['content'] }}", "fails: one turn")],
)  # fmt: skip
def test_a_template_without_several_turns_is_told(template: str, said: str) -> None:
    tokenizer = byte_level_tokenizer()
    tokenizer.chat_template = template
    prompter = Prompter(wrap(tokenizer), Prompt(system=""))
    assert prompter.text("How many?").startswith("How many?")
    with pytest.raises(UserError, match=f"{said}.*prompt.template: raw"):
        prompter.check_turns()
    Prompter(wrap(tokenizer), Prompt(template="raw")).check_turns()
