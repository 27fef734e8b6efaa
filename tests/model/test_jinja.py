"""A template writes what transformers makes of it, on one day, and whatever it does, it ends."""

import time
from typing import Any

import pytest
from jinja2 import TemplateError
from transformers.utils.chat_template_utils import _cached_compile_jinja_template as stock

from mlx_trace.errors import UserError
from mlx_trace.model import jinja
from mlx_trace.model.jinja import render
from mlx_trace.model.prompts import Prompter
from tests.conftest import LLAMA2_TEMPLATE, LLAMA3_TEMPLATE, byte_level_tokenizer
from tests.model.test_prompts import wrap

TALK = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
MESSAGES = [{"role": "system", "content": "be brief"}, {"role": "user", "content": " How many {{ eggs }}?\n"},
            {"role": "assistant", "content": "<think>\nx\n</think>\n\n7"}, {"role": "user", "content": "½ of 1,000 — 苹果"}]  # fmt: skip
SETTINGS = {"bos_token": "<s>", "eos_token": "</s>", "date_string": "26 Jul 2024", "enable_thinking": False}


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jinja, "_LONGEST", {})


@pytest.mark.parametrize(
    "template",
    [LLAMA2_TEMPLATE, LLAMA3_TEMPLATE, TALK, "a\n{% if true %}\n  b\n{% endif %}\n",
     "{%- set ns = namespace(n=0, said='') %}{% for m in messages[::-1] %}{% set ns.n = ns.n + loop.index %}"
     "{% set ns.said = ns.said ~ m.role[0] ~ loop.last %}{% endfor %}{{ ns.n }}{{ ns.said }}",
     "{% macro f(x, y='z') %}<{{ x }}{{ y }}{{ caller() if caller }}>{% endmacro %}{{ f(messages[0].role) }}"
     "{% call f(1, y=none) %}in{% endcall %}{% filter upper %}up{{ 1.50 }}{% endfilter %}",
     "{{ messages[2].content.split('</think>')[-1].lstrip('\\n') }}{{ messages | map(attribute='role') | join(', ') }}"
     "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ [1, 2, 3] | sum }}",
     "{{ messages | tojson }}{{ {'a': [1, 'é'], 'b': {}} | tojson(indent=2) }}{{ 'a-b'.replace('-', '+') }}",
     "{{ '%s and %05.1f' % ('x', 2) }}{{ '{}: {:>4}'.format('a', 3) }}{{ '%d' | format(7) }}{{ 'ab' * 3 }}{{ 7 // 2 }}",
     "{% for a, b in {'x': 1, 'y': 2}.items() %}{{ a }}{{ b }}{% else %}none{% endfor %}{{ tools is none }}{{ x is defined }}",
     "{% generation %}{% set y = 1 %}{{ messages[0].role }}{% endgeneration %}{{ y is defined }}{{ nothing }}{{ none }}",
     "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.role }}{% break %}{% endfor %}",
     "{{ messages[0]['content'] is string and messages[0].role in ['system', 'user'] }}{{ range(3) | list }}{{ 'x' | indent(2, true) }}",
     "{{ '  x ' | trim }}|{{ messages[1].content | trim | capitalize }}{{ (1, 'b')[1] }}{{ dict(a=1) }}{{ 2 ** 10 }}{{ 1 if x else 2 }}"],
)  # fmt: skip
def test_it_writes_what_transformers_does_counted_or_not(template: str) -> None:
    given = {"messages": MESSAGES, "tools": None, "documents": None, "add_generation_prompt": True} | SETTINGS
    wanted = stock(template).render(given | {"strftime_now": jinja.DAY.strftime})
    assert render(template, MESSAGES, SETTINGS) == wanted
    assert template in jinja._LONGEST
    assert render(template, MESSAGES, SETTINGS) == wanted


@pytest.mark.parametrize(
    "call",
    ["strftime_now('%d %b %Y %H:%M:%S')", "strftime_now(format='%d %b %Y %H:%M:%S')", "strftime_now('%d %b %Y ' ~ '%H:%M:%S')"],
)  # fmt: skip
@pytest.mark.parametrize(("before", "name"), [("", "strftime_now"), ("{% set now = strftime_now %}", "now")])
def test_it_is_one_day_however_it_is_asked_for(call: str, before: str, name: str) -> None:
    template = before + "{{ " + call.replace("strftime_now", name) + " }}"
    if "format=" in call:
        with pytest.raises(TypeError):
            jinja.DAY.strftime(fmt="x")
    assert render(template, [], {}) == "26 Jul 2024 00:00:00"


DOUBLE = "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = "
LISTS = "{% set ns = namespace(x=['ab']) %}{% for i in range(60) %}{% set ns.x = "


@pytest.mark.parametrize(
    "template",
    ["{{ 'A' * 300000000 }}", "{% set x = 'A' * 300000000 %}", "{% if false %}{{ 'A' * 300000000 }}{% endif %}{{ 'A' * 300000000 }}",
     "{% for i in range(99999) %}{% for j in range(99999) %}{% for k in range(99999) %}{% endfor %}{% endfor %}{% endfor %}",
     "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}", "{{ range(10**8) | list }}",
     "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
     "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
     DOUBLE + "ns.x ~ ns.x %}{% endfor %}", DOUBLE + "ns.x + ns.x %}{% endfor %}", DOUBLE + "ns.x.replace('a', ns.x) %}{% endfor %}",
     DOUBLE + "ns.x | replace('a', ns.x) %}{% endfor %}", DOUBLE + "ns.x.join(ns.x) %}{% endfor %}", DOUBLE + "[ns.x, ns.x] | join(ns.x) %}{% endfor %}",
     DOUBLE + "'{0}{0}'.format(ns.x) %}{% endfor %}", DOUBLE + "'%s%s' % (ns.x, ns.x) %}{% endfor %}", DOUBLE + "'%s%s' | format(ns.x, ns.x) %}{% endfor %}",
     LISTS + "[ns.x, ns.x] %}{% endfor %}{{ ns.x }}", LISTS + "ns.x + ns.x %}{% endfor %}", LISTS + "(ns.x, ns.x) %}{% endfor %}{{ ns.x == ns.x }}",
     LISTS + "{'a': ns.x, 'b': ns.x} %}{% endfor %}{{ ns.x | tojson }}",
     "{% set ns = namespace(x=99) %}{% for i in range(60) %}{% set ns.x = ns.x * ns.x %}{% endfor %}", "{{ 9 ** (9 ** 9) }}",
     "{{ 'x' | center(1000000000) }}", "{{ 'x'.ljust(1000000000) }}", "{{ '%1000000000d' % 5 }}", "{{ '%*d' % (1000000000, 5) }}",
     "{{ '{:>1000000000}'.format(5) }}", "{{ '{:>{w}}'.format(5, w=1000000000) }}", "{{ '{:>1000000000}'.format_map({}) }}",
     "{{ ('\t' * 9999).expandtabs(99999) }}", "{{ ['a'] | batch(1000000000, 'x') | list }}", "{{ ('x' * 99999) | indent(99999) }}",
     "{{ lipsum(n=100000) }}", "{{ range(9) | random }}", "{{ ('x\n' * 9999) | list | map('center', 99999) | list }}",
     "{% filter replace('x', 'y' * 99999) %}" + "x" * 9999 + "{% endfilter %}", "{{ messages" + "[0]" * 99 + " * 10 ** 9 }}",
     "{% set x = 'a' * 99999 %}{% for i in range(99999) %}{% set y = x[1:] %}{% endfor %}", "x" * 300_000],
)  # fmt: skip
def test_a_template_that_makes_too_much_or_never_ends_is_refused_in_a_moment(template: str) -> None:
    tokenizer = byte_level_tokenizer()
    tokenizer.chat_template = template + TALK
    began = time.process_time()
    with pytest.raises(UserError, match="chat template fails"):
        Prompter(wrap(tokenizer), _chat())
    assert time.process_time() - began < 20  # some tenths of a second, on a machine that does nothing else


def test_what_a_long_question_makes_of_it_is_counted_again() -> None:
    template = "{% if messages[0].content | length > 50 %}{{ 'A' * 300000000 }}{% endif %}" + TALK
    assert render(template, [{"role": "user", "content": "short"}], {})
    with pytest.raises(TemplateError, match="steps and characters"):
        render(template, [{"role": "user", "content": "long " * 20}], {})


@pytest.mark.parametrize("length", [100, 10_000])
def test_long_questions_are_no_reason_to_refuse(length: int) -> None:
    for template in (LLAMA3_TEMPLATE, LLAMA2_TEMPLATE, TALK):
        assert "x" * length in render(template, [*MESSAGES, {"role": "user", "content": "x" * length}], SETTINGS)


def test_a_template_cannot_reach_behind_itself() -> None:
    for template in (
        "{{ ''.__class__.__mro__ }}",
        "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
        "{{ namespace(__init__=1) }}",
    ):
        assert "class" not in _written(template)


def _written(template: str) -> str:
    try:
        return render(template, [], {})
    except TemplateError as error:
        return type(error).__name__


def _chat() -> Any:
    from mlx_trace.config import Prompt

    return Prompt()
