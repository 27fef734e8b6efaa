"""Which expert a computation belongs to: the one whose shape and words it has, else arithmetic."""

import re
from typing import Final

from mlx_trace.problems.compile.node import PERCENT_OPS, Node, walk
from mlx_trace.problems.compile.words import EVENTS

_MOST_EVENTS: Final = 6
_MOST_RELATIONS: Final = 3  # operations of a comparison
_RATE: Final = re.compile(
    r"(?i)(?<!\bin )(?<!during )(?<!\bfor )(?<!within )(?<!half )(?<!\bof )"
    r"\b(?:per|an?|each|every) (?:second|minute|hour|day|week|month|year)\b|\b(?:mph|kmh|km/h|miles/hour)\b"
)
_RELATION: Final = re.compile(
    r"(?i)\b(?:times|twice|half|third|quarter)\b(?: (?!of\b)\w+)? (?:as|the|more|older|that)\b"
    r"|\b(?:more|fewer|less|older|younger|taller|shorter|longer|heavier|faster|slower) (?:\w+ ){0,3}than\b"
)


def route(target: Node, question: str) -> str:
    """Return the expert of a computation."""
    nodes = [node for node in walk(target) if node.op != "leaf"]
    if any(node.op in PERCENT_OPS for node in nodes):
        return "percentage"
    if entity_events(target) is not None and _tells_events(question):
        return "entity_track"
    if len(nodes) == 1 and target.op in ("mul", "div") and len(target.args) == 2 and _RATE.search(question):
        return "rate_equation"
    if len(nodes) <= _MOST_RELATIONS and _RELATION.search(question) and not _RATE.search(question):
        return "comparison"
    return "arithmetic"


def entity_events(target: Node) -> tuple[Node, list[tuple[bool, Node]]] | None:
    """Return what a possession starts with, and its events (gained, amount) in order, if the target is only that."""
    backwards: list[tuple[bool, Node]] = []
    node = target
    while node.op in ("add", "sub"):
        gained = node.op == "add"
        node, *others = node.args
        amounts = [amount for other in others for amount in (other.args if other.op == "add" else (other,))]
        if any(amount.op != "leaf" or amount.mention is None or amount.value <= 0 for amount in amounts):
            return None
        backwards += [(gained, amount) for amount in reversed(amounts)]
    start = node if node.op == "leaf" and node.mention is not None else None
    if start is None or start.mention is None or start.value < 0 or not 0 < len(backwards) <= _MOST_EVENTS:
        return None
    if any(amount.mention is None or amount.mention <= start.mention for _, amount in backwards):
        return None  # a start that is told after its events is a goal, or another's
    left = start.value
    for gained, amount in reversed(backwards):
        left += amount.value if gained else -amount.value
        if left < 0:
            return None
    return start, backwards[::-1]


def _tells_events(question: str) -> bool:
    return any(word in EVENTS for word in re.findall(r"[a-z]+", question))
