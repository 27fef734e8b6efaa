"""A record as the page shows it: the question in pieces, both computations drawn, and what the solver objects to.

Takes a reply; returns what is embedded in the page as JSON, all foreign text in it made safe to show.
"""

import re
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

from mlx_trace.evaluate.records import ReadRecord, objection
from mlx_trace.evaluate.report.graph import ComputationGraph, GraphNode, graph
from mlx_trace.evaluate.report.layout import HEIGHT, Placement, lay_out
from mlx_trace.evaluate.strata import STRATA
from mlx_trace.language.grade import expert_of
from mlx_trace.language.knowledge import called_numbers
from mlx_trace.language.mentions import Mention, find_numbers
from mlx_trace.language.solver import Failed, solve
from mlx_trace.language.syntax import NoTrace, Trace, parse
from mlx_trace.notice import safe

_MOST_NODES: Final = 60  # that are drawn
_LONGEST_NAME: Final = 24
_LONGEST_TEXT: Final = 20_000
_LETTER: Final = 7.3  # the width of a label's letter, in its type
_SMALL_LETTER: Final = 6.1
_PADDING: Final = 18
_STEP: Final = re.compile(r"\s*(?:- )+[{\[]")


def entry(reply: ReadRecord, file: int, side: str) -> dict[str, Any]:
    """Return one record for the page; `side` says how it is against another file: gained, lost, or nothing."""
    own = _trace(reply.output)
    drawn, golden = _graph(reply.output), _graph(reply.problem.trace or "")
    if drawn and golden:
        drawn, golden = drawn.marked(golden.known), golden.marked(drawn.known)
    elif drawn:
        drawn = drawn.marked_numbers(_stated(reply.problem.question, _numbers(drawn)))
    row: dict[str, Any] = {
        "file": file, "id": safe(reply.problem.id), "question": _pieces(reply, drawn, golden),
        "answer": reply.problem.answer, "got": reply.got and safe(reply.got), "result": _result(reply),
        "cause": reply.why and safe(reply.why), "objection": safe(objection(reply)), "side": side, "kind": reply.kind,
        "output": safe(reply.output[:_LONGEST_TEXT]), "gold": safe(reply.problem.trace or ""),
        "fault": _faulty_line(reply.output, own), "expert": _expert(own), "own_graph": _picture(drawn),
        "gold_graph": _picture(golden), "tokens": reply.tokens, "sampled": reply.sampled,
        "seconds": round(reply.seconds, 3), "truncated": reply.truncated, "agreement": reply.agreement,
        "votes": [[safe(vote.answer), vote.count, vote.weight, reply.is_right(vote)] for vote in reply.votes],
        "failed": [[safe(kind), count] for kind, count in reply.failed.items()], "loss": reply.loss,
    }  # fmt: skip
    row |= {by: safe(of(reply.problem)) for by, of in STRATA.items() if by != "expert"}
    row["gold_expert"] = safe(reply.problem.gold_expert or "")
    return {
        key: value for key, value in row.items() if value is not None and value is not False and value not in ("", [])
    }


def _result(reply: ReadRecord) -> str:
    if reply.loss is not None:
        return "loss"
    if reply.correct:
        return "right"
    return "wrong" if reply.is_wrong else "no answer to be right by"


@lru_cache(maxsize=1 << 12)  # files of the same problems have their golds in common
def _trace(text: str) -> Trace | NoTrace:
    return parse(text)


@lru_cache(maxsize=1 << 12)
def _graph(text: str) -> ComputationGraph | None:
    trace = _trace(text)
    computation = None if isinstance(trace, NoTrace) else graph(trace)
    return computation if computation and computation.nodes else None


def _expert(trace: Trace | NoTrace) -> str:
    return "" if isinstance(trace, NoTrace) else safe(expert_of(trace)[:40])


def _stated(question: str, used: set[Fraction]) -> set[Fraction]:
    """Return the numbers that a question states; where these are not all that are used, also those it calls for."""
    readings = {reading for mention in _mentions(question) for reading in mention.readings}
    return readings if used <= readings else readings | {*called_numbers(question)}


@lru_cache(maxsize=1 << 12)
def _mentions(question: str) -> list[Mention]:
    return find_numbers(question)


def _numbers(computation: ComputationGraph | None) -> set[Fraction]:
    """Return the numbers on which an answer depends; of what failed, all that it had."""
    if computation is None:
        return set()
    pairs = zip(computation.expressions, computation.nodes, strict=True)
    return {expression.number for expression, node in pairs if expression.op == "number" and node.leads}


def _pieces(reply: ReadRecord, own: ComputationGraph | None, gold: ComputationGraph | None) -> list[list[str]]:
    """Return the question in pieces; a number's says who uses it: both, reply, gold, or nobody."""
    question, end = reply.problem.question, 0
    used, wanted = _numbers(own), _numbers(gold)
    pieces: list[list[str]] = []
    for mention in _mentions(question):
        by_reply = not used.isdisjoint(mention.readings)
        by_gold = not wanted.isdisjoint(mention.readings)
        who = (
            "both"
            if by_reply and (by_gold or gold is None)
            else "reply"
            if by_reply
            else "gold"
            if by_gold
            else "nobody"
        )
        pieces += [[safe(question[end : mention.start])], [safe(question[mention.start : mention.end]), who]]
        end = mention.end
    return [piece for piece in (*pieces, [safe(question[end:])]) if piece[0]]


def _faulty_line(text: str, trace: Trace | NoTrace) -> int | None:
    """Return the line (from 0) of the step that failed, where steps stand a line each."""
    outcome = None if isinstance(trace, NoTrace) else solve(trace)
    if isinstance(trace, NoTrace) or not isinstance(outcome, Failed):
        return None
    before = sum(len(part.steps) for part in trace.parts[: outcome.part]) + outcome.step
    lines = [number for number, line in enumerate(text.split("\n")) if _STEP.match(line)]
    whole = len(lines) == sum(len(part.steps) for part in trace.parts)
    return lines[before] if whole and before < len(lines) else None


def _picture(of: ComputationGraph | None) -> dict[str, Any] | None:
    """Return where nodes and lines are; of a graph that is too large, only its size."""
    if of is None:
        return None
    if len(of.nodes) > _MOST_NODES:
        return {"large": len(of.nodes)}
    return _laid_out(tuple(of.nodes))


@lru_cache(maxsize=1 << 12)
def _laid_out(nodes: tuple[GraphNode, ...]) -> dict[str, Any]:
    names = [_name(node) for node in nodes]
    widths = [max(HEIGHT, max(len(node.label) * _LETTER, len(name) * _SMALL_LETTER) + _PADDING)
              for node, name in zip(nodes, names, strict=True)]  # fmt: skip
    layout = lay_out([node.args for node in nodes], widths)
    placed = [_node(node, name, round(width), place, any(nodes[arg].is_other for arg in node.args))
              for node, name, width, place in zip(nodes, names, widths, layout.places, strict=True)]  # fmt: skip
    return {"width": layout.width, "height": layout.height, "node_height": HEIGHT, "nodes": placed,
            "lines": _lines(layout, nodes)}  # fmt: skip


def _name(node: GraphNode) -> str:
    name = safe(node.name)
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _node(node: GraphNode, name: str, width: int, place: tuple[float, float], follows: bool) -> list[Any]:
    """Return place, width, label, name, and what it is, a letter each: number, answer, other, that follows, idle."""
    flags: Mapping[str, bool] = {"n": not node.args, "a": node.is_answer, "o": node.is_other,
                                 "f": node.is_other and follows, "i": not node.leads}  # fmt: skip
    return [*place, width, node.label, name, "".join(flag for flag, holds in flags.items() if holds)]


def _lines(layout: Placement, nodes: tuple[GraphNode, ...]) -> list[list[Any]]:
    return [[[round(x) for point in points for x in point], nodes[lower].leads] for _, lower, points in layout.lines]
