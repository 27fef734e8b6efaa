"""A small layered layout (Sugiyama, Tagawa and Toda 1981): nodes in rows, operands above what is computed from them.

Takes the operands and the width of each node; returns where it stands and how lines run. Knows nothing of traces.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Final

HEIGHT: Final = 40  # of a node
_GAP: Final = 14  # between nodes of a row
_ROW: Final = 68  # from a row to the next
_SWEEPS: Final = 8
_LINE: Final = 8  # the width of a line that passes a row
_MARGIN: Final = 3

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Placement:
    """The middles of nodes; lines, each from an operand to what is computed from it, with the points they pass."""

    width: float
    height: float
    places: list[Point]
    lines: list[tuple[int, int, list[Point]]]


def lay_out(args: Sequence[Sequence[int]], widths: Sequence[float]) -> Placement:
    """Place nodes, of which `args` are the operands, in rows: no two overlap, and every line runs downwards."""
    rows = _Rows(args, widths)
    if not rows.rows:
        return Placement(0, 0, [], [])
    rows.uncross()
    xs = rows.spread()
    left = min(x - rows.widths[node] / 2 for node, x in enumerate(xs))
    width = max(x + rows.widths[node] / 2 for node, x in enumerate(xs)) - left + 2 * _MARGIN
    shift, top = _MARGIN - left, _MARGIN + HEIGHT / 2
    places = [(round(x + shift, 1), rows.level[node] * _ROW + top) for node, x in enumerate(xs)]
    lines = [(chain[0], chain[-1], [places[node] for node in chain]) for chain in rows.chains]
    height = (len(rows.rows) - 1) * _ROW + HEIGHT + 2 * _MARGIN
    return Placement(round(width, 1), height, places[: len(args)], lines)


class _Rows:
    """Nodes by row, with one more for each row that a line passes."""

    def __init__(self, args: Sequence[Sequence[int]], widths: Sequence[float]) -> None:
        self.widths = list(widths)
        self.level = _levels(args)
        self.chains: list[list[int]] = []
        for node, own in enumerate(args):
            for arg in dict.fromkeys(own):
                self.chains.append([arg, *(self._passing(row) for row in range(self.level[arg] + 1, self.level[node])),
                                    node])  # fmt: skip
        self.above: list[list[int]] = [[] for _ in self.level]
        self.below: list[list[int]] = [[] for _ in self.level]
        for chain in self.chains:
            for upper, lower in pairwise(chain):
                self.below[upper].append(lower)
                self.above[lower].append(upper)
        self.rows: list[list[int]] = [[] for _ in range(max(self.level, default=-1) + 1)]
        for node in self._in_reading_order(len(args)):
            self.rows[self.level[node]].append(node)

    def _passing(self, row: int) -> int:
        self.widths.append(_LINE)
        self.level.append(row)
        return len(self.level) - 1

    def _in_reading_order(self, nodes: int) -> list[int]:
        """Return all nodes as who reads from the last operation upwards meets them: operands as they are written."""
        met: dict[int, None] = {}
        for start in range(nodes - 1, -1, -1):
            waiting = [start]
            while waiting:
                node = waiting.pop()
                if node not in met:
                    met[node] = None
                    waiting += reversed(self.above[node])
        return list(met)

    def uncross(self) -> None:
        """Order rows by the means of their neighbours' places, to and fro; keep the order with the fewest crossings."""
        best, fewest = [list(row) for row in self.rows], self._crossings()
        for sweep in range(_SWEEPS):
            if not fewest:
                break
            downwards = sweep % 2 == 0
            beside = self.above if downwards else self.below
            for row in self.rows if downwards else reversed(self.rows):
                place = {node: x for other in self.rows for x, node in enumerate(other)}
                key = {
                    node: fmean(place[near] for near in beside[node]) if beside[node] else place[node] for node in row
                }
                row.sort(key=key.__getitem__)
            if (crossings := self._crossings()) < fewest:
                best, fewest = [list(row) for row in self.rows], crossings
        self.rows = best

    def _crossings(self) -> int:
        place = {node: x for row in self.rows for x, node in enumerate(row)}
        count = 0
        for row in self.rows[:-1]:
            ends = [place[lower] for upper in row for lower in sorted(self.below[upper], key=place.__getitem__)]
            count += sum(first > second for k, first in enumerate(ends) for second in ends[k + 1 :])
        return count

    def spread(self) -> list[float]:
        """Return where nodes stand in their rows: near the means of their neighbours, in order, and apart."""
        xs = [0.0] * len(self.level)
        for row in self.rows:
            for node, x in zip(row, self._apart(row, [0.0] * len(row)), strict=True):
                xs[node] = x
        for sweep in range(2 * _SWEEPS):
            downwards = sweep % 2 == 0
            beside = self.above if downwards else self.below
            for row in self.rows if downwards else reversed(self.rows):
                wanted = [fmean(xs[near] for near in beside[node]) if beside[node] else xs[node] for node in row]
                for node, x in zip(row, self._apart(row, wanted), strict=True):
                    xs[node] = x
        return xs

    def _apart(self, row: Sequence[int], wanted: Sequence[float]) -> list[float]:
        """Return the places nearest to those that are wanted at which no two nodes of a row overlap.

        Less the room that those before a node take, places must not fall: least squares pool those that would.
        """
        room = [0.0]
        for left, right in pairwise(row):
            room.append(room[-1] + (self.widths[left] + self.widths[right]) / 2 + _GAP)
        pools: list[tuple[float, int]] = []  # mean, count
        for place, taken in zip(wanted, room, strict=True):
            pools.append((place - taken, 1))
            while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
                (mean, count), (next_mean, next_count) = pools[-2:]
                both = count + next_count
                pools[-2:] = [((mean * count + next_mean * next_count) / both, both)]
        means = [mean for mean, count in pools for _ in range(count)]
        return [mean + taken for mean, taken in zip(means, room, strict=True)]


def _levels(args: Sequence[Sequence[int]]) -> list[int]:
    """Return each node's row: an operation below its operands, a number right above the first that uses it."""
    level = [0] * len(args)
    for node, own in enumerate(args):
        level[node] = 1 + max(level[arg] for arg in own) if own else 0
    users: list[list[int]] = [[] for _ in args]
    for node, own in enumerate(args):
        for arg in own:
            users[arg].append(node)
    return [own if args[node] or not users[node] else min(level[user] for user in users[node]) - 1
            for node, own in enumerate(level)]  # fmt: skip
