"""The template that asks for a trace by itself: a question alone gets the prompter's ids, a conversation is kept whole."""

import copy
from functools import cache
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx_lm.tokenizer_utils import TokenizerWrapper

from mlx_trace.config import SYSTEM_PROMPT, Prompt, TraceForm
from mlx_trace.errors import UserError
from mlx_trace.model.base import read_tokenizer
from mlx_trace.model.chat_template import PROBES, render, stock_template, stock_template_or_none
from mlx_trace.model.prompts import Prompter, carried_prompt
from mlx_trace.resources import adapters_dir, tiny_dir
from tests.conftest import byte_level_tokenizer, sentencepiece_tokenizer
from tests.paths import SHARED

ODD = 'it\'s {{ x }} %} {# \\n "q" é 🍎\n\n\tB'
REAL = SHARED / "tokenizers"
NO_ROLE = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for m in messages %}<{{ 'model' if m['role'] == 'assistant' else m['role'] }}>"
    "{% if m['content'] is string %}{{ m['content'] | trim }}{% else %}"
    "{% for part in m['content'] %}{{ part['text'] | trim }}{% endfor %}{% endif %}<|end|>\n{% endfor %}\n"
    "{% if add_generation_prompt %}<model>{% endif %}\n"
)
THINKING = (
    '{%- set today = strftime_now("%d %B %Y") %}{{ today }}\n{% for m in messages %}<|head|>{{ m.role }}\n{{ m.content }}<|end|>'
    "{% endfor %}{% if add_generation_prompt %}<|head|>assistant\n{% if enable_thinking is defined and not enable_thinking %}"
    "<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
IGNORANT = "{% for m in messages %}{% if m['role'] == 'user' %}[user] {{ m['content'] }}{% endif %}{% endfor %}"
TRAINABLE = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}<|head|>assistant: "
    "{% generation %}{{ m['content'] }}<|end|>{% endgeneration %}"
    "{% else %}<|head|>{{ m['role'] }}: {{ m['content'] }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|head|>assistant: {% endif %}\n"
)


def with_template(template: Any) -> Any:
    tokenizer = byte_level_tokenizer()
    tokenizer.chat_template = template
    return TokenizerWrapper(tokenizer)


@cache
def shared(name: str) -> Any:
    if not REAL.is_dir():
        pytest.skip(f"needs {name}'s tokenizer in ../shared/tokenizers")
    return read_tokenizer(REAL / name, {})


TOKENIZERS = {
    "tiny": lambda: read_tokenizer(tiny_dir(), {}),
    "byte-level": lambda: TokenizerWrapper(byte_level_tokenizer()),
    "sentencepiece": lambda: TokenizerWrapper(sentencepiece_tokenizer()),
    "no role": lambda: with_template(NO_ROLE),
    "system ignored": lambda: with_template(IGNORANT),
    "thinking": lambda: with_template(THINKING),
    "trainable": lambda: with_template(TRAINABLE),
    "several": lambda: with_template({"default": THINKING, "tool_use": NO_ROLE}),
    "tinyllama": lambda: shared("tinyllama"),
    "llama32": lambda: shared("llama32"),
    "smollm2": lambda: shared("smollm2"),
}  # fmt: skip
PROMPTS = [Prompt(), Prompt(system=""), Prompt(system=ODD), Prompt(template="raw"), Prompt(template="raw", system="")]


def carrying(tokenizer: Any, template: str) -> Any:
    """Return the tokenizer of a fused model: the same, with the template."""
    other = copy.copy(tokenizer._tokenizer)
    other.chat_template = template
    return TokenizerWrapper(other, eos_token_ids=set(tokenizer.eos_token_ids))


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: f"{prompt.template} {prompt.system[:4]}")
def test_a_question_alone_gets_the_prompters_ids_and_a_fused_model_the_same(name: str, prompt: Prompt) -> None:
    tokenizer = TOKENIZERS[name]()
    prompter = Prompter(tokenizer, prompt)
    fused = carrying(tokenizer, stock_template(prompter))
    for question in (*PROBES, "Why?"):
        wanted = prompter.ids(question)
        asked = [{"role": "user", "content": question}]
        assert list(fused.apply_chat_template(asked, add_generation_prompt=True)) == wanted
        assert Prompter(fused, carried_prompt(fused)).ids(question) == wanted, "chat and eval, with no adapter to tell"
        assert Prompter(fused, prompt).ids(question) == wanted, "trained again, with the same configuration"
    assert Prompter(fused, prompt).is_carried
    assert stock_template(Prompter(fused, prompt)) == stock_template(Prompter(fused, carried_prompt(fused)))
    assert stock_template(Prompter(fused, prompt)) == fused.chat_template, "fused again, it does not grow"


@pytest.mark.parametrize("name", ["tiny", "no role", "thinking", "several"])
@pytest.mark.parametrize("template", ["chat", "raw"])
@pytest.mark.parametrize("form", ["name_first", "commented"])
def test_a_fused_model_carries_the_form_of_its_traces(
    name: str, template: Literal["chat", "raw"], form: TraceForm
) -> None:
    tokenizer = TOKENIZERS[name]()
    plain, other = Prompt(template=template), Prompt(template=template, trace_form=form)
    fused = carrying(tokenizer, stock_template(Prompter(tokenizer, other)))
    assert carried_prompt(fused).trace_form == form
    assert Prompter(fused, carried_prompt(fused)).ids("Why?") == Prompter(tokenizer, plain).ids("Why?")
    assert stock_template(Prompter(fused, carried_prompt(fused))) == fused.chat_template, (
        "fused again, it does not grow"
    )
    again = carrying(fused, stock_template(Prompter(fused, plain)))
    assert carried_prompt(again).trace_form == "operation_first", "trained again, in the first form"
    assert again.chat_template == stock_template(Prompter(tokenizer, plain))


@pytest.mark.parametrize("name", ["tiny", "llama32", "no role", "thinking"])
def test_a_fused_model_trained_with_another_system_text_carries_that(name: str) -> None:
    tokenizer = TOKENIZERS[name]()
    fused = carrying(tokenizer, stock_template(Prompter(tokenizer, Prompt())))
    other = Prompter(fused, Prompt(system="Be brief."))
    assert not other.is_carried
    assert other.ids("Why?") == Prompter(tokenizer, Prompt(system="Be brief.")).ids("Why?")
    again = carrying(fused, stock_template(other))
    assert Prompter(again, carried_prompt(again)).ids("Why?") == other.ids("Why?")


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_system_turn_of_the_users_own_is_the_one_used(name: str) -> None:
    tokenizer = TOKENIZERS[name]()
    prompter = Prompter(tokenizer, Prompt())
    template = stock_template(prompter)
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    text = render(tokenizer, template, said)
    assert text == Prompter(tokenizer, Prompt(system="Be brief.")).text("Why?")
    assert SYSTEM_PROMPT not in text


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("template", ["chat", "raw"])
def test_a_conversation_is_kept_and_its_replies_are_as_they_were_said(name: str, template: Any) -> None:
    if name == "system ignored" and template == "chat":
        pytest.skip("that template shows no replies")
    tokenizer = TOKENIZERS[name]()
    stock = stock_template(Prompter(tokenizer, Prompt(template=template)))
    said = [{"role": "user", "content": "One?"}, {"role": "assistant", "content": "expert: rates\n```"},
            {"role": "user", "content": "Two?"}]  # fmt: skip
    text = render(tokenizer, stock, said)
    first = render(tokenizer, stock, said[:1])
    if name not in ("thinking", "several") or template == "raw":  # those leave the empty thought out of history
        assert text.startswith(first + "expert: rates\n```"), "what a server keeps of the first turn still holds"
    assert text.count("```yaml\n") == 2
    assert text.endswith("```yaml\n")
    assert text.count(SYSTEM_PROMPT) == 1
    learnt = render(tokenizer, stock, said[:2], add_generation_prompt=False)
    assert "```yaml\nexpert: rates\n```" in learnt
    assert learnt.count("```yaml") == 1, "no fence is opened where no reply is asked for"
    whole = [said[0], {"role": "assistant", "content": "```yaml\nexpert: rates\n```"}]
    assert render(tokenizer, stock, whole, add_generation_prompt=False) == learnt
    chatty = [said[0], {"role": "assistant", "content": "I do not know."}, said[2]]
    assert render(tokenizer, stock, chatty).count("```yaml") == 1


def test_what_is_learnt_from_messages_is_what_our_sft_learns() -> None:
    tokenizer = TOKENIZERS["tiny"]()
    prompter = Prompter(tokenizer, Prompt())
    said = [{"role": "user", "content": "One?"}, {"role": "assistant", "content": "```yaml\nexpert: rates\n```"}]
    text = render(tokenizer, stock_template(prompter), said, add_generation_prompt=False)
    prompt, target = prompter.example("One?", "expert: rates")
    assert tokenizer.encode(text, add_special_tokens=False) == prompt + target


@pytest.mark.parametrize("prompt", [Prompt(), Prompt(template="raw")])
def test_content_in_parts_is_text(prompt: Prompt) -> None:
    tokenizer = with_template(NO_ROLE)
    template = stock_template(Prompter(tokenizer, prompt))
    parts: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "text", "text": "Why?"}]}]
    assert render(tokenizer, template, parts) == render(tokenizer, template, [{"role": "user", "content": "Why?"}])
    system: list[dict[str, Any]] = [{"role": "system", "content": [{"type": "text", "text": "Be brief."}]}, *parts]
    plain = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    assert render(tokenizer, template, system) == render(tokenizer, template, plain)


def test_the_date_and_thinking_are_settled_whatever_a_tool_gives() -> None:
    for tokenizer in (TOKENIZERS["byte-level"](), TOKENIZERS["thinking"]()):
        prompter = Prompter(tokenizer, Prompt())
        template = stock_template(prompter)
        given = render(
            tokenizer, template, [{"role": "user", "content": "x"}], enable_thinking=True, date_string="today"
        )
        assert given == prompter.text("x")
    assert "26 July 2024" in prompter.text("x")


SOME = with_template(TRAINABLE)


@settings(max_examples=60)
@given(st.text(max_size=40))
def test_any_system_text_is_carried(system: str) -> None:
    prompter = Prompter(SOME, Prompt(system=system))
    assert render(SOME, stock_template(prompter), [{"role": "user", "content": "x"}]) == prompter.text("x")


def test_a_template_that_cannot_be_made_to_ask_is_refused_in_one_line() -> None:
    prompter = Prompter(with_template("{{ turns is defined }}{{ messages[-1]['content'] }}"), Prompt())
    with pytest.raises(UserError, match="cannot be made to ask for a trace by itself") as refused:
        stock_template(prompter)
    assert len(refused.value.lines()) == 1
    assert stock_template_or_none(prompter.tokenizer, Prompt()) is None


def test_the_bundled_adapter_has_its_template_beside_it() -> None:
    template = (adapters_dir() / "tiny" / "chat_template.jinja").read_text(encoding="utf-8")
    assert template == stock_template(Prompter(TOKENIZERS["tiny"](), Prompt()))
