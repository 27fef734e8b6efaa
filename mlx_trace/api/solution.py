"""A trace run by itself, and a worked solution compiled to one: what needs no model, and imports none."""

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from mlx_trace.api import html
from mlx_trace.api.quiet import quietly
from mlx_trace.errors import UserError
from mlx_trace.language.amounts import read_amount
from mlx_trace.language.grade import EXPECTABLE, GradeKind, grade
from mlx_trace.language.ledger import LedgerLine, ledger
from mlx_trace.language.numbers import read_numeral
from mlx_trace.language.syntax import NoTrace, parse
from mlx_trace.notice import safe

if TYPE_CHECKING:
    from mlx_trace.problems.compile.compiler import Compiled


@dataclass(frozen=True, slots=True, repr=False)
class Solution:
    """What a trace comes to: `kind` is `solved`, or with an expected answer `correct` or `wrong_answer`, or what is
    wrong with the trace (`invalid_trace`, `wrong_expert`, `parse_failure`), and `detail` says it in words."""

    trace: str
    answer: str | None
    kind: GradeKind
    detail: str
    reward: float | None
    steps: list[LedgerLine]

    @property
    def value(self) -> Fraction | None:
        """Return the answer as a number."""
        return None if self.answer is None else read_numeral(self.answer)

    def __repr__(self) -> str:
        return safe(f"Solution(answer={self.answer!r}, kind={self.kind!r}, detail={self.detail!r})")

    def _repr_html_(self) -> str:
        said = f"= {self.answer}" if self.answer is not None else f"{self.kind}: {self.detail}"
        return f"<div>{html.steps(self.steps)}{html.paragraph(said, 'font-weight:bold')}</div>"


def solve(trace: str, expected: str | float | Fraction | None = None, expert: str | None = None) -> Solution:
    """Run a trace, and grade it where an answer or an expert is expected. What is wrong with a trace is no error.

    >>> import mlx_trace
    >>> solution = mlx_trace.solve('''
    ... expert: arithmetic
    ... trace:
    ... - {op: init, var: eggs, value: 20}
    ... - {op: init, var: sold, value: 4}
    ... - {op: compute, compute_op: sub, args: [eggs, sold], var: left}
    ... - {op: query, var: left}
    ... ''')
    >>> solution.answer, solution.kind
    ('16', 'solved')
    >>> [step.said for step in solution.steps]
    ['eggs is given', 'sold is given', 'left = eggs − sold', 'answer: left']
    """
    if not isinstance(trace, str):
        raise UserError(f"a trace is text, not a {type(trace).__name__}")
    if expert is not None and expert not in EXPECTABLE:
        raise UserError(f"expert is {expert!r}, not one of {', '.join(EXPECTABLE)}")
    graded, parsed = grade(trace, None if expected is None else _number(expected), expert), parse(trace)
    lines = [] if isinstance(parsed, NoTrace) else ledger(parsed)
    detail = "" if graded.kind in ("solved", "correct") else graded.detail
    return Solution(trace, graded.answer, graded.kind, detail, graded.reward, lines)


def _number(expected: str | float | Fraction) -> Fraction:
    number = expected if isinstance(expected, Fraction) else read_amount(str(expected))
    if number is None:
        raise UserError(f"expected is {str(expected)[:40]!r}, which is not a number")
    return number


@quietly
def compile(question: str, solution: str, answer: str | float | None = None) -> "Compiled":  # noqa: A001 the word here
    """Compile a worked solution to a trace that computes its answer; UserError says why one has none.

    The solution is in GSM-8K's form, ending in `#### 16`, or `answer` says what it comes to; an equation in one unknown
    (`x=20-4`) will do, too.

    >>> import mlx_trace
    >>> compiled = mlx_trace.compile("I had 20 eggs and sold 4 of them. How many are left?", "20-4=<<20-4=16>>16", 16)
    >>> compiled.answer, compiled.grounded
    ('16', True)
    >>> mlx_trace.solve(compiled.trace).answer
    '16'
    """
    from mlx_trace.problems.compile.compiler import Refused, compile_row
    from mlx_trace.problems.fields import GOLD_MARK

    faults = [f"{name} is text, not a {type(text).__name__}" for name, text in
              {"question": question, "solution": solution}.items() if not isinstance(text, str)]  # fmt: skip
    if faults:
        raise UserError(*faults)
    worked = solution if GOLD_MARK in solution or answer is None else f"{solution}\n{GOLD_MARK} {answer}"
    compiled = compile_row({"question": question, "answer": worked}, "compile")
    if isinstance(compiled, Refused) and answer is not None:
        as_equation = compile_row({"question": question, "answer": str(answer), "equation": solution}, "compile")
        compiled = compiled if isinstance(as_equation, Refused) else as_equation
    if isinstance(compiled, Refused):
        raise UserError(f"the solution does not compile: {compiled.reason}")
    return compiled
