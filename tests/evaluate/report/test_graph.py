"""A trace's graph has what the solver computed, tells what leads to the answer, and marks what the other one lacks."""

from hypothesis import given

from mlx_trace.evaluate.report.graph import brief, graph
from mlx_trace.language.solver import Failed, solve
from mlx_trace.language.syntax import Trace, parse
from tests.evaluate.report.material import GOLD, INVALID, SHORT
from tests.language.traces import traces


def read(text: str) -> Trace:
    trace = parse(text)
    assert isinstance(trace, Trace)
    return trace


@given(traces())
def test_a_graph_computes_what_the_solver_does(trace: Trace) -> None:
    found, outcome = graph(trace), solve(trace)
    for number, node in enumerate(found.nodes):
        assert all(arg < number for arg in node.args)
    answers = [node for node in found.nodes if node.is_answer]
    if isinstance(outcome, Failed):
        assert answers == []
    else:
        (answer,) = answers
        assert answer.label.rpartition("= ")[2] == brief(outcome.answer)
        assert answer.leads


def test_nodes_say_what_they_are() -> None:
    found = graph(read(GOLD))
    assert [(node.label, node.name) for node in found.nodes] == [
        ("3", "boxes"), ("12", "eggs"), ("3 × 12 = 36", "all_eggs"), ("4", "broken"), ("36 − 4 = 32", "whole"),
    ]  # fmt: skip
    assert [node.args for node in found.nodes] == [(), (), (0, 1), (), (2, 3)]


def test_what_leads_to_no_answer_is_told() -> None:
    assert [node.name for node in graph(read(SHORT)).nodes if not node.leads] == ["broken", "whole"]


def test_of_a_trace_that_failed_there_is_what_ran() -> None:
    assert [node.name for node in graph(read(INVALID)).nodes] == ["boxes", "eggs", "all_eggs", "broken"]


def test_what_the_other_computation_lacks_is_marked() -> None:
    own, gold = graph(read(GOLD.replace("mul", "add"))), graph(read(GOLD))
    assert [node.name for node in own.marked(gold.known).nodes if node.is_other] == ["all_eggs", "whole"]
    turned = graph(read(GOLD.replace("[boxes, eggs]", "[eggs, boxes]")))
    assert not any(node.is_other for node in turned.marked(gold.known).nodes)


def test_what_is_used_twice_is_one_node_and_parts_are_joined() -> None:
    doubled = "expert: arithmetic\ntrace:\n- {op: init, var: a0, value: 2}\n" + "".join(
        f"- {{op: compute, var: a{n + 1}, compute_op: add, args: [a{n}, a{n}]}}\n" for n in range(60)
    )
    found = graph(read(doubled + "- {op: query, var: a60}"))
    assert len(found.nodes) == 61 and found.known  # the tree has 2^60 leaves
    part = "- expert: arithmetic\n  trace:\n  - {{op: init, var: b, {}}}\n  - {{op: compute, var: c, compute_op: add, args: [b, 1]}}\n  - {{op: query, var: c}}\n"
    both = graph(read(part.format("value: 5") + part.format("source: prev.result")))
    assert [node.label for node in both.nodes] == ["5", "1", "5 + 1 = 6", "1", "6 + 1 = 7"]
