"""Hypothesis strategies: traces that often run, traces that often do not, and texts near canonical ones."""

from fractions import Fraction

from hypothesis import strategies as st

from mlx_trace.language.experts import EXPERTS
from mlx_trace.language.steps import AddEntity, Compute, Consume, Init, InitFrom, Percent, Query, Transfer
from mlx_trace.language.syntax import Part, Trace

NAMES = st.sampled_from(["a", "b", "c", "bob.cards", "step1", "result", "eggs_2", "_x"])
NUMBERS = st.one_of(
    st.integers(-3, 12).map(Fraction),
    st.sampled_from([Fraction(1, 2), Fraction(100), Fraction(1, 3), Fraction(5, 4), Fraction(0), Fraction(10**29)]),
)
OPERANDS = st.one_of(NAMES, NAMES, NUMBERS)

_INIT = st.builds(Init, NAMES, NUMBERS)
_INIT_FROM = st.builds(InitFrom, NAMES, st.sampled_from(["prev.result", "sub0.result", "sub1.result"]))
_COMPUTE = st.one_of(
    st.builds(lambda op, args, var: Compute(op, tuple(args), var), st.sampled_from(["add", "mul"]),
              st.lists(OPERANDS, min_size=2, max_size=4), NAMES),
    st.builds(lambda op, x, y, var: Compute(op, (x, y), var), st.sampled_from(["sub", "div"]), OPERANDS, OPERANDS,
              NAMES),
)  # fmt: skip
_PERCENT = st.builds(Percent, OPERANDS, OPERANDS, NAMES,
                     st.sampled_from(["percent_of", "percent_off", "percent_increase"]))  # fmt: skip
_ENTITY = st.one_of(
    st.builds(Consume, NAMES, OPERANDS),
    st.builds(AddEntity, NAMES, OPERANDS),
    st.builds(Transfer, NAMES, NAMES, OPERANDS),
)
_STEPS = st.one_of(_INIT, _INIT, _INIT, _INIT_FROM, _COMPUTE, _COMPUTE, _PERCENT, _ENTITY, st.builds(Query, NAMES))


@st.composite
def parts(draw: st.DrawFn) -> Part:
    """A part of any expert: a few inits, then anything, then often a query."""
    steps = draw(st.lists(_INIT, max_size=3)) + draw(st.lists(_STEPS, max_size=6))
    if draw(st.booleans()):
        steps = [step for step in steps if not isinstance(step, Query)] + [draw(st.builds(Query, NAMES))]
    return Part(draw(st.sampled_from([*EXPERTS, *EXPERTS, "nobody"])), tuple(steps))


@st.composite
def running_parts(draw: st.DrawFn) -> Part:
    """A part that defines before it uses, so that most of them run to an answer."""
    expert = draw(st.sampled_from(list(EXPERTS)))
    names = [f"v{n}" for n in range(12)]
    steps: list = [Init(names[0], draw(NUMBERS)), Init(names[1], draw(NUMBERS))]
    for n in range(2, draw(st.integers(3, 8))):
        known = st.one_of(st.sampled_from(names[:n]), st.sampled_from(names[:n]), NUMBERS)
        kind = draw(st.integers(0, 3))
        if expert == "entity_track" and kind == 0:
            steps.append(draw(st.one_of(
                st.builds(Consume, st.sampled_from(names[:n]), known),
                st.builds(AddEntity, st.sampled_from(names[: n + 1]), known),
                st.builds(Transfer, st.sampled_from(names[:n]), st.sampled_from(names[: n + 1]), known),
            )))  # fmt: skip
        elif expert == "percentage" and kind == 0:
            op = draw(st.sampled_from(["percent_of", "percent_off", "percent_increase"]))
            steps.append(Percent(draw(known), draw(known), names[n], op))
        else:
            op = draw(st.sampled_from(["add", "sub", "mul", "div"]))
            steps.append(Compute(op, (draw(known), draw(known)), names[n]))
        if names[n] not in {getattr(step, "var", None) for step in steps}:
            steps.append(Init(names[n], draw(NUMBERS)))
    return Part(expert, (*steps, Query(draw(st.sampled_from(names[: len(steps)])))))


def traces(part: st.SearchStrategy[Part] | None = None) -> st.SearchStrategy[Trace]:
    """One to three parts."""
    source = st.one_of(parts(), running_parts()) if part is None else part
    return st.lists(source, min_size=1, max_size=3).map(lambda found: Trace(tuple(found)))
