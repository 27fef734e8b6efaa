"""Text to trace and back: canonical text survives, the fast path changes nothing, and no bytes can raise."""

import time

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlx_trace.language import syntax
from mlx_trace.language.grade import grade
from mlx_trace.language.steps import Malformed
from mlx_trace.language.syntax import MAX_BYTES, NoTrace, Trace, parse, parse_document, render
from tests.language.traces import traces

SINGLE = """\
expert: arithmetic
trace:
- {op: init, var: eggs, value: 16}
- {op: init, var: breakfast, value: 3}
- {op: compute, compute_op: sub, args: [eggs, breakfast], var: result}
- {op: query, var: result}"""
COMPOSED = """\
- expert: percentage
  trace:
  - {op: init, var: price, value: 80}
  - {op: init, var: rate, value: 20}
  - {op: percent_off, base: price, rate: rate, var: result}
  - {op: query, var: result}
- expert: arithmetic
  trace:
  - {op: init, var: sale, source: prev.result}
  - {op: compute, compute_op: add, args: [sale, 10], var: result}
  - {op: query, var: result}"""


def read(text: str | bytes) -> Trace:
    trace = parse(text)
    assert isinstance(trace, Trace), trace
    return trace


@given(traces())
def test_render_and_parse_are_inverse(trace: Trace) -> None:
    if any(not part.steps for part in trace.parts):
        return  # an empty list has no canonical text
    text = render(trace)
    assert read(text) == trace
    assert render(read(text)) == text


@pytest.mark.parametrize("text", [SINGLE, COMPOSED])
def test_canonical_text_takes_the_fast_path_and_survives(text: str) -> None:
    assert syntax._parse_canonical(text) is not None
    assert render(read(text)) == text


@given(traces())
def test_the_other_form_says_the_same_and_is_read_as_fast(trace: Trace) -> None:
    if any(not part.steps for part in trace.parts):
        return
    text = render(trace, "name_first")
    assert read(text) == trace and render(read(text), "name_first") == text
    assert syntax._parse_canonical(text) == syntax._parse_canonical(render(trace))
    assert syntax._parse_yaml(text) == trace


def test_the_other_form_begins_with_what_is_computed() -> None:
    text = render(read(COMPOSED), "name_first")
    assert "- {op: percent_off, var: result, base: price, rate: rate}" in text
    assert "- {op: compute, var: result, compute_op: add, args: [sale, 10]}" in text
    assert syntax._parse_canonical(text) == read(COMPOSED)


@pytest.mark.parametrize("text", [SINGLE, COMPOSED])
def test_comments_are_passed_over_and_as_fast(text: str) -> None:
    said = "# first\n" + text.replace("\n", "\n    # what: {is} left, and `why`\n#\n") + "\n# that is all"
    assert syntax._parse_canonical(said) == syntax._parse_yaml(said) == read(text)
    assert read(f"```yaml\n{said}\n```") == read(text)
    assert grade(said) == grade(text)
    assert syntax._parse_canonical(text.replace("\n", "\n# \a\n")) is None, "which YAML refuses"
    assert isinstance(parse("# nothing else"), NoTrace)


def test_a_sequence_of_one_is_the_mapping() -> None:
    indented = "- " + SINGLE.replace("\n", "\n  ")
    assert read(indented) == read(SINGLE)


# --- fast path ≡ YAML path ---

_EDITS = st.one_of(
    st.sampled_from([" ", "\n", ",", ":", "- ", "{", "}", "[", "]", "'", '"', "#", "&a ", "*a", "!!int ", "\t", "|", "é",
                     "1e3", "yes", "0x10", "80,000", "- {op: query, var: x}", "...", "---\n", "null", "~", "?", "\r", "# so: {a}\n", "\n # é\n", "\n#\n"]),
    st.text(max_size=3),
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> str:
    text = draw(st.one_of(traces().map(render), st.sampled_from([SINGLE, COMPOSED])))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        cut = draw(st.integers(0, 3))
        text = text[:at] + draw(_EDITS) + text[at + cut :]
    return text


@settings(max_examples=600)
@given(st.one_of(mutated(), traces().map(render), st.text()))
@example(SINGLE + "\n")
@example(SINGLE.replace("eggs", "yes"))
@example(SINGLE.replace("16", "-.5"))
@example("\n" + SINGLE)
@example(SINGLE.replace("{op", "{ op"))
@example(SINGLE.replace("\n", "\n# it's [so]: ```, \"\n"))
def test_the_fast_path_gives_what_yaml_gives(text: str) -> None:
    fast = syntax._parse_canonical(text)
    if fast is not None:
        assert fast == syntax._parse_yaml(text)


# --- extraction ---


@pytest.mark.parametrize(
    "text",
    [
        f"{SINGLE}\n```",
        f"{SINGLE}\n```\nThat is all.\n```yaml\nexpert: other\ntrace: []\n```",
        f"```yaml\n{SINGLE}\n```",
        f"```YML\r\n{SINGLE}\n```",
        f"```\n{SINGLE}",
        f"Sure, here it is:\n\n```yaml title=trace\n{SINGLE}\n```\nHope it helps!",
        f"```python\nprint(1)\n```\nthen\n```yaml\n{SINGLE}\n```",
        f"nonsense\n```\nwhy: not\n```yaml\n{SINGLE}\n```",
        f"  ```yaml\n{SINGLE}\n  ```",
        f"````yaml\n{SINGLE}\n````",
        f"\n\n{SINGLE}\n\n",
        SINGLE.encode(),
        "\ufeff" + SINGLE,
        "\ufeff```yaml\n" + SINGLE,
        b"\xff" * 6000 + b"\n```yaml\n" + SINGLE.encode(),
        SINGLE.replace("\n", "\r\n"),
    ],
)
def test_a_document_is_found_in_what_models_write(text: str | bytes) -> None:
    assert read(text) == read(SINGLE)


@pytest.mark.parametrize(
    "text",
    ["", "   ", "hello", f"Sure! {SINGLE}", f"text\n{SINGLE}", "```\n```", "```yaml\nexpert: a\n```", f"`{SINGLE}`"],
)
def test_text_without_a_document_is_no_trace(text: str) -> None:
    assert isinstance(parse(text), NoTrace)


@pytest.mark.parametrize(
    "document",
    [
        "expert: arithmetic",
        "trace: []",
        "expert: a\ntrace: x",
        "expert: a\ntrace:",
        "expert: a\ntrace: {}",
        "expert: [a]\ntrace: []",
        "expert: {a: b}\ntrace: []",
        "expert: a\nexpert: b\ntrace: []",
        "expert: a\ntrace: []\nnote: x",
        "[]",
        "- 5",
        "- [expert, trace]",
        "- expert: a\n  trace: []\n- 5",
        "expert: a\ntrace: []\n---\nexpert: b\ntrace: []",
        "expert: &x a\ntrace: []",
        "expert: a\ntrace: [*x]",
        "expert: !!str a\ntrace: []",
        "expert: a\ntrace: [{op: init, var: !v x}]",
        "? [a]\n: b",
        "expert: a\ntrace: [",
        "\x00",
        "\ud800",
        "a: b: c",
    ],
)
def test_other_shapes_are_parse_failures(document: str) -> None:
    assert isinstance(parse(document), NoTrace)


def test_scalars_are_text_whatever_yaml_calls_them() -> None:
    trace = read("expert: yes\ntrace: [{op: query, var: no}, {op: query, var: 'null'}]")
    assert trace.parts[0].expert == "yes"
    assert [step.var for step in trace.parts[0].steps] == ["no", "null"]


def test_malformed_steps_are_steps_of_the_trace() -> None:
    kinds = [
        step.kind for step in read("expert: a\ntrace: [5, [x], {op: no}, {}]").parts[0].steps
        if isinstance(step, Malformed)
    ]  # fmt: skip
    assert kinds == ["wrong_field", "wrong_field", "unknown_op", "wrong_field"]


@pytest.mark.parametrize("value", ["80,000", "80,000,000", "1,234.50"])
def test_a_comma_in_a_number_is_named(value: str) -> None:
    step = read(SINGLE.replace("16", value)).parts[0].steps[0]
    assert isinstance(step, Malformed)
    assert step.kind == "bad_value"
    assert value in step.message
    assert value.replace(",", "") in step.message


def test_the_limit_is_sixteen_kibibytes() -> None:
    padding = MAX_BYTES - len(SINGLE) - 1
    assert isinstance(parse(SINGLE + "\n" + "#" * padding), Trace)
    assert isinstance(parse(SINGLE + "\n" + "#" * (padding + 1)), NoTrace)
    assert isinstance(parse(SINGLE + "\n#" + "é" * (padding // 2 + 1)), NoTrace)


# --- robustness ---


@pytest.mark.parametrize("value", ["[" * 4000 + "]" * 4000, "[[[[[[x]]]]]]"])
def test_lists_in_a_field_make_a_malformed_step_however_deep(value: str) -> None:
    for field in ("var", "value", "args"):
        trace = parse(f"expert: arithmetic\ntrace:\n- {{op: init, {field}: {value}}}")
        assert isinstance(trace, Trace)
        assert isinstance(trace.parts[0].steps[0], Malformed)
        assert len(trace.parts[0].steps[0].text) < 60


@settings(max_examples=400)
@given(st.one_of(st.binary(max_size=400), st.text(max_size=400), mutated(), st.text(alphabet="[]{}:,-&*!|>'\"`# \n?")))
def test_no_input_raises(data: str | bytes) -> None:
    assert isinstance(parse(data), Trace | NoTrace)


@pytest.mark.parametrize(
    "piece",
    ["[", "{", "{a: ", "- ", "? ", "```\n", "``` x\n", "`", "   ", "'", '"', "&a ", "*a ", "a: ", "[[],", "- expert: a\n",
     "!", "|\n", "\t", ",000", "1: 1,", "expert: a\ntrace:\n", "0", "- {op: query, var: x}\n", "\ufeff", "\r", "#"],
)  # fmt: skip
def test_hostile_repetition_ends_in_time(piece: str) -> None:
    text = piece * (MAX_BYTES // len(piece.encode()))
    in_a_step = "expert: arithmetic\ntrace:\n- op: init\n  var:\n   "
    in_flow = "expert: arithmetic\ntrace:\n- {op: compute, compute_op: add, var: x, args: "
    for prefix in ("", "expert: arithmetic\ntrace:\n", "```", in_a_step, in_flow):
        began = time.process_time()
        grade((prefix + text)[:MAX_BYTES])
        assert time.process_time() - began < 3


def test_the_loader_is_yaml_s_failsafe_one() -> None:
    assert yaml.load("yes", Loader=syntax._Loader) == "yes"
    assert isinstance(parse_document("expert: 1:30\ntrace: []"), Trace)
