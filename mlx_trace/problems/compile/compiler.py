"""Worked solutions, equations → gold traces: no model, no hand annotation; what does not solve to its gold is refused.

Takes a row, returns `Compiled` or `Refused` with its reason. A trace never holds the answer as a literal.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from mlx_trace.language.grade import is_right
from mlx_trace.language.numbers import spell
from mlx_trace.language.solver import Solved, solve
from mlx_trace.language.syntax import NoTrace, parse_document, render
from mlx_trace.problems.compile.choice import Origin
from mlx_trace.problems.compile.decide import Wired, decide
from mlx_trace.problems.compile.doubt import UNDECIDED, doubt, doubt_equation
from mlx_trace.problems.compile.emit import emit, shortest
from mlx_trace.problems.compile.equations import Equation, read_equations
from mlx_trace.problems.compile.formula import read_formula
from mlx_trace.problems.compile.graph import Graph
from mlx_trace.problems.compile.grounding import Grounding
from mlx_trace.problems.compile.kinds import Kinds
from mlx_trace.problems.compile.node import Node, walk
from mlx_trace.problems.compile.told_results import told_results
from mlx_trace.problems.fields import GOLD_MARK, Told
from mlx_trace.problems.gsm8k import has_solution, read_row
from mlx_trace.problems.problem import Problem, read_leniently
from mlx_trace.problems.sentences import last_sentence

NO_SOLUTION: Final = "no worked solution"
UNLIKE: Final = "a sum of unlike things"  # one of its numbers equals the one that was meant
MOST_CHARACTERS: Final = 20_000  # of a question or a solution


@dataclass(frozen=True, slots=True)
class Compiled:
    """A problem whose trace solves to its gold; `grounded` tells that every number of it is stated or known to all."""

    problem: Problem
    grounded: bool
    expert: str  # of the trace; the problem expects none, since several can be right

    @property
    def trace(self) -> str:
        """Return the trace."""
        return self.problem.trace or ""

    @property
    def answer(self) -> str:
        """Return what it computes, exactly."""
        return self.problem.answer or ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a row has no trace."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wiring:
    """A node that computes the gold, with the numbers of its question, and why it may not be the way that is meant."""

    target: Node
    grounding: Grounding
    doubt: str = ""

    @property
    def rank(self) -> tuple[bool, bool]:
        """Return what makes one better than another: grounded counts more than beyond doubt."""
        return is_grounded(self.target), not self.doubt


def compile_row(row: dict[str, Any], name: str) -> Compiled | Refused:
    """Compile a row with a worked solution or an equation; `name` says where it stands. Never raises on its content.

    An interpreter computes the answer, as in PAL (Gao et al. 2022), and a program that does not give the gold is left
    out, as in STaR (Zelikman et al. 2022); here no model writes it: it is the official solution's (Cobbe et al. 2021).
    """
    question, answer = row.get("question"), row.get("answer")
    if not isinstance(question, str) or not question.strip():
        return Refused("no question")
    if answer is None or answer == "":
        return Refused("no answer")
    formula = None if has_solution(row) else read_formula(row.get("equation"))
    if formula is None and not has_solution(row):
        return Refused("an equation that cannot be read" if row.get("equation") else NO_SOLUTION)
    if max(len(question), len(str(answer))) > MOST_CHARACTERS:
        return Refused("too long")
    if not _is_text(f"{question}{row.get('id', '')}"):
        return Refused("broken characters")
    try:
        problem = read_row(row, name) if formula is None else _with_equation(row, name)
    except ValueError:
        return Refused("the gold is not a number")
    return _traced(problem, str(answer).rpartition(GOLD_MARK)[0], formula)


def _traced(problem: Problem, solution: str, formula: Equation | None) -> Compiled | Refused:
    """Give a problem the trace of its solution, or of its equation if it has one."""
    question, gold = problem.question, problem.expected
    assert gold is not None
    wired = find_target(question, solution, gold) if formula is None else equation_target(question, formula, gold)
    if isinstance(wired, Refused):
        return wired
    grounding, mended = wired.grounding, Kinds(wired.grounding).mend(wired.target)
    target, doubt = mended or wired.target, wired.doubt if mended is wired.target else UNLIKE
    trace = parse_document(emit(target, question, grounding.mentions))
    outcome = trace if isinstance(trace, NoTrace) else solve(trace)
    if isinstance(trace, NoTrace) or not isinstance(outcome, Solved) or outcome.answer != target.value:
        return Refused("the trace does not run")  # too long, or a number too large
    expert = trace.parts[0].expert
    results = _results(target, question, solution) if expert != "entity_track" else ()
    exact = {"trace": render(trace), "answer": spell(target.value), "results": results, "solution": solution.strip()}
    return Compiled(problem.model_copy(update={**exact, "doubt": doubt}), is_grounded(target), expert)


def _results(target: Node, question: str, solution: str) -> tuple[str, ...]:
    """Return what a solution calls the results on the way to a target, in the order of the trace's steps."""
    called = told_results(solution, question)
    names = tuple(called.get(node.value, "") for node in walk(shortest(target)) if node.op != "leaf")
    return names if any(names) else ()


def _is_text(text: str) -> bool:
    """Tell whether a text can be written: half a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def compile_file(path: Path, told: Told | None = None) -> Iterator[Compiled | Refused]:
    """Compile every row of a file of worked solutions; bad lines are refused like bad rows."""
    for name, row, fault in read_leniently(path, told):
        yield Refused(fault) if row is None else compile_row(row, name)


def find_target(question: str, solution: str, gold: Fraction) -> Wiring | Refused:
    """Return the wiring that computes the gold, grounded and beyond doubt if any reading of the solution allows it."""
    reasons: list[str] = []
    best: Wiring | None = None
    before: list[Equation] = []
    for unknowns in (False, True):
        equations = read_equations(solution, unknowns)
        if best is not None and equations == before:
            break
        before, wiring = equations, _find(question, equations, gold, unknowns)
        if isinstance(wiring, str):
            reasons.insert(0, wiring)
            continue
        best = wiring if best is None or wiring.rank > best.rank else best
        if all(best.rank):
            break
    return best or Refused(next(filter(None, reasons), "the gold is not among the results"))


def _find(question: str, equations: list[Equation], gold: Fraction, conclude: bool) -> Wiring | str:
    """Return the wiring of a solution that its words say, computing the gold; or why there is none."""

    def grow(forced: Mapping[int, Origin]) -> Wired | None:
        graph = _grow(question, equations, forced)
        target = _target(graph, gold, conclude)
        return None if target is None else (graph, target)

    graph = _grow(question, equations)
    target = _target(graph, gold, conclude)
    if target is None:
        computed = any(result.node.args for result in graph.results)
        return graph.faults[0] if graph.faults else "" if computed else "nothing computed"
    (graph, target), sure = decide((graph, target), grow)
    return Wiring(target, graph.grounding, doubt(target, graph.grounding) if sure else UNDECIDED)


def equation_target(question: str, equation: Equation, gold: Fraction) -> Wiring | Refused:
    """Return the node of an equation; the answer beside it may be rounded, as a grade allows."""
    graph = _grow(question, [equation])
    used = {leaf.value for leaf in graph.grounding.leaves.values()}
    spare = any(
        mention.value in used and index not in graph.grounding.used
        for index, mention in enumerate(graph.grounding.mentions)
    )
    if spare:  # of two equal numbers one is not meant: which one, the last sentence's words say
        graph = _grow(question, [replace(equation, line=last_sentence(question))])
    if not graph.results:
        return Refused(graph.faults[0] if graph.faults else "nothing computed")
    target = graph.results[-1].node
    if not is_right(Solved(target.value, ()), gold):
        return Refused("the equation does not give the answer")
    settled = Kinds(graph.grounding).settle(target)
    return Wiring(settled, graph.grounding, doubt_equation(settled, graph.grounding))


def is_worked(row: dict[str, Any]) -> bool:
    """Tell whether a row has what a trace can be compiled from, and no trace: a worked solution or an equation."""
    return has_solution(row) or (not row.get("trace") and read_formula(row.get("equation")) is not None)


def _with_equation(row: dict[str, Any], name: str) -> Problem:
    answer = row["answer"]
    if isinstance(answer, str):
        answer = answer.rpartition(GOLD_MARK)[2].strip()
    return Problem(id=str(row.get("id", name)), question=row["question"], answer=answer, source=f"equation/{name}")


def _grow(question: str, equations: list[Equation], forced: Mapping[int, Origin] | None = None) -> Graph:
    graph = Graph(Grounding(question), forced)
    for equation in equations:
        graph.add(equation)
    return graph


def _target(graph: Graph, gold: Fraction, conclude: bool) -> Node | None:
    """Return the last result that is the gold; with `conclude`, else one step from what is left over."""
    for result in reversed(graph.results):
        if result.node.value == gold and result.node.args:
            return result.node
    return graph.conclude(gold) if conclude else None


def is_grounded(target: Node) -> bool:
    """Tell whether every number a node needs is stated in the question or common knowledge."""
    return all(node.grounded for node in walk(target))
