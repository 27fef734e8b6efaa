"""What Ollama makes of a Modelfile is what training asked: its template, run as Ollama runs it, gives the same prompts."""

import re
from typing import Any

import pytest

from mlx_trace.config import SYSTEM_PROMPT, Prompt
from mlx_trace.model.chat_template import PROBES, render, stock_template
from mlx_trace.model.prompts import Prompter
from mlx_trace.modelfile import begins_prompts, begins_texts, modelfile
from tests.model.test_chat_template import IGNORANT, NO_ROLE, PROMPTS, THINKING, TOKENIZERS, carrying, with_template

ANSWER = "expert: rates\n```"


def run(template: str, **values: str) -> str:
    """Run the part of Go's template language that is written: fields, one kind of `if`, and quoted braces."""
    text = re.sub(r"\{\{ if \.System \}\}(.*?)\{\{ end \}\}", lambda block: block[1] if values["System"] else "", template,
                  flags=re.DOTALL)  # fmt: skip
    return re.sub(r'\{\{ (?:\.(\w+)|"(\{\{)") \}\}', lambda action: values[action[1]] if action[1] else action[2], text)


def ollama(file: str, messages: list[tuple[str, str]]) -> str:
    """Return the prompt that Ollama makes of messages: every exchange in turn, the last one up to its reply."""
    template = re.search(r'^TEMPLATE """(.*?)"""$', file, re.DOTALL | re.MULTILINE)
    system = re.search(r'^SYSTEM """(.*?)"""$', file, re.DOTALL | re.MULTILINE)
    assert template is not None
    if system is not None and messages[0][0] != "system":
        messages = [("system", system[1]), *messages]
    text, values = "", {"System": "", "Prompt": "", "Response": ""}
    for role, content in messages:
        values[{"system": "System", "user": "Prompt", "assistant": "Response"}[role]] = content
        if role == "assistant":
            text, values = text + run(template[1], **values), dict.fromkeys(values, "")
    return text + run(template[1].partition("{{ .Response }}")[0], **values)


def written(tokenizer: Any, prompt: Prompt) -> tuple[Prompter, Any, str]:
    prompter = Prompter(tokenizer, prompt)
    fused = carrying(tokenizer, stock_template(prompter))
    return prompter, fused, modelfile(prompter, fused, "my model.gguf", 2048)


@pytest.mark.parametrize("name", [name for name in TOKENIZERS if name not in ("system ignored",)])
@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: f"{prompt.template} {prompt.system[:4]}")
def test_a_prompt_is_the_prompters_or_the_template_is_left_out_with_a_reason(name: str, prompt: Prompt) -> None:
    tokenizer = TOKENIZERS[name]()
    prompter, fused, file = written(tokenizer, prompt)
    assert 'FROM "./my model.gguf"\n' in file
    assert "PARAMETER temperature 0\n" in file
    assert f'PARAMETER stop "{tokenizer.eos_token}"\n' in file
    if "# no TEMPLATE" in file:
        assert prompt.system == "", "with a system text every family has one"
        return
    begin = fused.bos_token if begins_texts(fused) and begins_prompts(prompter) else ""
    for question in (probe for probe in PROBES if probe == probe.strip()):
        text = begin + ollama(file, [("user", question)])
        assert list(fused.encode(text, add_special_tokens=False)) == prompter.ids(question)
    own = [("system", "Be brief."), ("user", "Why?")]
    if prompt.system:
        said = [{"role": role, "content": content} for role, content in own]
        assert begin + ollama(file, own) == render(fused, fused.chat_template, said)


@pytest.mark.parametrize("name", ["tiny", "no role", "sentencepiece", "byte-level"])
def test_a_conversation_is_the_chat_templates(name: str) -> None:
    tokenizer = TOKENIZERS[name]()
    _, fused, file = written(tokenizer, Prompt())
    said = [("user", "One?"), ("assistant", ANSWER), ("user", "Two?")]
    messages = [{"role": role, "content": content} for role, content in said]
    assert ollama(file, said) == render(fused, fused.chat_template, messages)


def test_braces_of_a_system_text_and_of_a_template_are_text() -> None:
    tokenizer = with_template("{{ '{{ x }}' }}" + IGNORANT.replace("if m['role'] == 'user'", "if true"))
    prompter, _, file = written(tokenizer, Prompt(system="say {{ .Prompt }}"))
    assert '{{ "{{" }} x }}' in file
    assert ollama(file, [("user", "Why?")]) == prompter.text("Why?")


def test_a_system_text_that_a_fused_model_carries_is_found() -> None:
    tokenizer = TOKENIZERS["tiny"]()
    fused = carrying(tokenizer, stock_template(Prompter(tokenizer, Prompt())))
    carried = Prompter(fused, Prompt(system=""))
    assert f'SYSTEM """{SYSTEM_PROMPT}"""' in modelfile(carried, fused, "m.gguf", 9999)


@pytest.mark.parametrize("template", [NO_ROLE, THINKING])
def test_quotes_that_would_end_the_text_leave_the_template_out(template: str) -> None:
    *_, file = written(with_template(template), Prompt(system='three """ quotes'))
    assert "# no TEMPLATE" in file
    assert "SYSTEM" not in file
