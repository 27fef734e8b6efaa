"""The audit passes the bundled families and finds each planted fault."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from mlx_trace.problems.audit import audit, check_problem
from mlx_trace.problems.problem import Problem
from mlx_trace.problems.synthetic.schema import load_schemas
from tests.problems.synthetic.test_schema import changed, folder


def test_the_bundled_families_are_clean() -> None:
    assert audit(list(load_schemas().values()), per_schema=200) == []


def test_the_families_on_trial_are_clean() -> None:
    families = load_schemas(Path(__file__).parents[2] / "eval" / "contrast")
    assert len(families) == 25 and families.keys().isdisjoint(load_schemas())
    assert audit(list(families.values()), per_schema=100) == []


def _text(text: str) -> Callable[[dict[str, Any]], object]:
    return lambda schema: schema["templates"].update(train=[text] * 3)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (_text("{person} has  {start @item} and gives {given}. How many are left?"), "two spaces"),
        (_text("{person} has {start} {item} and gives {given}. How many are left?"), "number and noun"),
        (_text("{person} has {start @item} and a {item}, and gives {given}. Are a apple and an {item} left?"), "article"),
        (lambda s: s["parts"][0]["steps"].insert(1, "{op: init, var: days, value: 7}"), "not in the question"),
        (lambda s: s.update(constants=[9], parts=[{"expert": "arithmetic", "steps": [
            *s["parts"][0]["steps"][:1], "{op: init, var: nine, value: 9}", *s["parts"][0]["steps"][1:]]}]), "list of constants"),
        (lambda s: s["quantities"].update(age={"range": [30, 40]}) or _text(
            "{person} is {age} and has {start @item}. {person:they} gives {given}. How many are left?")(s)
         or s["templates"].update(eval=["{person}, {age}, has {start @item}, less {given}."]), "not in the trace"),
        (lambda s: s["templates"].update(train=["{person} has {start @item} and gives {given}. How many?"]), "fewer than 3"),
        (lambda s: s["templates"].update(train=[*s["templates"]["eval"], *s["templates"]["train"] * 3]), "alike"),
        (lambda s: s.update(where=["start < given"]), "satisfies its constraints"),
        (lambda s: s.update(answer="start + given"), "its trace gives"),
        (lambda s: s["quantities"].update(start={"choices": [12]}, given={"choices": [5]}), "the same answer"),
    ],
)  # fmt: skip
def test_planted_faults_are_found(tmp_path: Path, change: Callable[[dict[str, Any]], object], fault: str) -> None:
    findings = audit(list(load_schemas(folder(tmp_path, changed(change))).values()), per_schema=60)
    assert any(fault in finding.fault for finding in findings), findings


def test_a_declared_constant_and_a_declared_distractor_are_fine(tmp_path: Path) -> None:
    def change(schema: dict[str, Any]) -> None:
        schema["constants"] = [7]
        schema["parts"][0]["steps"].insert(1, "{op: init, var: days, value: 7}")
        schema["quantities"]["age"] = {"range": [30, 40], "distractor": True}
        schema["templates"] = {
            split: [f"{{person}} is {{age}} and has {{start @item}}; {{person:they}} {verb} {{given}}. How many are left?"
                    for verb in verbs] for split, verbs in (("train", ("gives", "sells", "lends")), ("eval", ("loses",)))
        }  # fmt: skip

    assert audit(list(load_schemas(folder(tmp_path, changed(change))).values()), per_schema=60) == []


def test_a_relation_word_that_the_trace_does_not_follow_is_found() -> None:
    trace = """\
expert: arithmetic
trace:
- {op: init, var: base, value: 30}
- {op: init, var: two, value: 3}
- {op: compute, compute_op: div, args: [base, two], var: result}
- {op: query, var: result}"""
    problem = Problem(id="x", question="Ann earned $30 and Bob twice as much. How much did Bob earn?", answer="10",
                      trace=trace)  # fmt: skip
    faults = list(check_problem(problem, frozenset({Fraction(3)})))
    assert faults == ["a number of the question is not in the trace (such as relation)"]
