"""A chat template that asks for a trace by itself, so that tools which know nothing of mlx-trace ask as it does.

Takes a prompter; returns Jinja: the base's own template, before it the system turn where the user gives none, behind
it the opened fence. A conversation's earlier replies get back the fence that opened them. Tried before it is returned.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from jinja2 import TemplateError

from mlx_trace.config import Prompt
from mlx_trace.errors import UserError
from mlx_trace.model.prompts import (
    CLOSING,
    DATE,
    FENCE,
    OPENING,
    Prompter,
    dated,
    jinja_literal,
    own_template,
    with_form,
)

CHAT_TEMPLATE: Final = "chat_template.jinja"  # what transformers calls it, in a model's folder
PROBES: Final = (
    "How many?",
    "Ava has 12 apples — ½ of them red.\n\nHow many are \"green\"? It's {{ 3 }} {% or %} 5%, isn't it?",
    "  5 of them  ",
    "```yaml\n",
    "¿Cuántos 苹果? 🍎\t1,000",
)
_ASKED: Final[tuple[dict[str, Any], ...]] = ({}, {"enable_thinking": True, "date_string": "1 Jan 2001"})

# Earlier replies come back from a client as they were written, without the fence that the prompt had opened.
_REPLIES: Final = """\
{%- set turns = namespace(all=[]) %}
{%- for message in messages %}
{%- set said = message['content'] if message['content'] is string else '' %}
{%- if message['role'] == 'assistant' and said.strip().endswith(CLOSING) and not said.strip().startswith(FENCE) %}
{%- set turns.all = turns.all + [{'role': 'assistant', 'content': OPENING + said}] %}
{%- else %}
{%- set turns.all = turns.all + [message] %}
{%- endif %}
{%- endfor %}
{%- set messages = turns.all %}
"""
_SYSTEM_TURN: Final = """\
{%- if not messages or messages[0]['role'] not in ['system', 'developer'] %}
{%- set messages = [{'role': 'system', 'content': SYSTEM}] + messages %}
{%- endif %}
"""
# For templates without a system role it stands before the first question.
_SYSTEM_TEXT: Final = """\
{%- set system_text = SYSTEM %}
{%- if messages and messages[0]['role'] in ['system', 'developer'] %}
{%- set system_text = messages[0]['content'] %}
{%- set messages = messages[1:] %}
{%- endif %}
{%- if system_text is not string %}
{%- set system_text = system_text | map(attribute='text') | join('') %}
{%- endif %}
{%- if system_text and messages %}
{%- set asked = messages[0]['content'] %}
{%- if asked is string %}
{%- set asked = system_text + '\\n\\n' + asked %}
{%- else %}
{%- set asked = [{'type': 'text', 'text': system_text + '\\n\\n' + asked[0]['text']}] + asked[1:] %}
{%- endif %}
{%- set messages = [{'role': messages[0]['role'], 'content': asked}] + messages[1:] %}
{%- endif %}
"""
_FENCE_LAST: Final = "{{ OPENING if add_generation_prompt else '' }}"  # no block: what precedes it stays as it is
_RAW: Final = """\
{{- BEGIN }}
{%- for message in messages %}
{%- if message['content'] is string %}
{%- set said = message['content'] %}
{%- else %}
{%- set said = message['content'] | map(attribute='text') | join('') %}
{%- endif %}
{%- if message['role'] == 'assistant' %}
{{- said + END }}
{%- elif message['role'] == 'user' %}
{{- 'Question: ' + said + '\\n\\n' }}
{%- elif said %}
{{- said + '\\n\\n' }}
{%- endif %}
{%- endfor %}
"""


def stock_template(prompter: Prompter) -> str:
    """Return the chat template with which a question alone gets the prompter's ids. UserError if none does."""
    fault = ""
    for candidate in _candidates(prompter):
        template = with_form(candidate, prompter.prompt.trace_form)
        fault = _fault(prompter, template)
        if not fault:
            return template
    raise UserError(f"the model's chat template cannot be made to ask for a trace by itself: {fault}")


def stock_template_or_none(tokenizer: Any, prompt: Prompt) -> str | None:
    """Return `stock_template` of a tokenizer and prompt settings, or None where there is none."""
    try:
        return stock_template(Prompter(tokenizer, prompt))
    except UserError:
        return None


def _candidates(prompter: Prompter) -> Iterator[str]:
    own = own_template(prompter.tokenizer)
    if own is not None and prompter.opens_fence:
        yield own
    if prompter.prompt.template == "raw":
        yield _filled(_REPLIES + _SYSTEM_TURN * bool(prompter.prompt.system) + _RAW + _FENCE_LAST, prompter)
    elif own is not None:
        with_role = _SYSTEM_TURN * bool(prompter.prompt.system)
        before = _pins(own) + _REPLIES + (with_role if prompter.has_system_role else _SYSTEM_TEXT)
        behind = "" if prompter.opens_fence else _filled(_FENCE_LAST, prompter)
        yield _filled(before, prompter) + dated(own).removesuffix("\n") + behind


def _pins(own: str) -> str:
    """Return what fixes the settings that tools give as they like."""
    values = {"date_string": jinja_literal(DATE), "enable_thinking": "false"}
    return "".join(f"{{%- set {name} = {value} %}}\n" for name, value in values.items() if name in own)


def _filled(jinja: str, prompter: Prompter) -> str:
    """Return Jinja with its constants, which are in capitals here, written out."""
    tokenizer = prompter.tokenizer
    values = {"OPENING": OPENING, "CLOSING": CLOSING, "FENCE": FENCE, "SYSTEM": prompter.prompt.system,
              "BEGIN": "".join(tokenizer.convert_ids_to_tokens(_begin(tokenizer))),
              "END": tokenizer.convert_ids_to_tokens(tokenizer.eos_token_id)}  # fmt: skip
    return re.sub(rf"\b({'|'.join(values)})\b", lambda name: jinja_literal(values[name[1]]), jinja)


def _begin(tokenizer: Any) -> list[int]:
    """Return the ids that a tokenizer puts before every text."""
    bare, whole = (list(tokenizer.encode("x", add_special_tokens=special)) for special in (False, True))
    return whole[: len(whole) - len(bare)] if whole[len(whole) - len(bare) :] == bare else []


def _fault(prompter: Prompter, template: str) -> str:
    """Return how a template's prompts differ from the prompter's; nothing if they do not."""
    for question in PROBES:
        for settings in _ASKED:
            try:
                given = render(prompter.tokenizer, template, [{"role": "user", "content": question}], **settings)
            except (TemplateError, ValueError, TypeError, KeyError) as error:
                return " ".join(str(error).split())[:120] or type(error).__name__
            if list(prompter.tokenizer.encode(given, add_special_tokens=False)) != prompter.ids(question):
                return f"{question!r} is asked as {given!r}, not {prompter.text(question)!r}"
    return ""


def render(tokenizer: Any, template: str, messages: list[dict[str, Any]], **settings: Any) -> str:
    """Return a conversation as the template writes it, up to where the next reply begins."""
    wanted = {"tokenize": False, "add_generation_prompt": True} | settings
    return str(tokenizer.apply_chat_template(messages, chat_template=template, **wanted))
