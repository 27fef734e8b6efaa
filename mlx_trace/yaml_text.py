"""YAML as people write settings: bounded before it is built, keys given twice told, and the place of every key.

Takes text; returns what it says, or says in which line and column it is broken.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import yaml

from mlx_trace.errors import UserError

MOST_YAML: Final = 256 * 1024  # characters of settings
MOST_VALUES: Final = 20_000
MOST_NESTED: Final = 50
MOST_DIGITS: Final = 100
_MERGE: Final = "tag:yaml.org,2002:merge"


class LineColumn(NamedTuple):
    """Where something stands in a text, from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.line}:{self.column}"


@dataclass(frozen=True)
class YamlText:
    """What a text says; where each key and item stands, by the keys that lead to it; and which keys stand twice."""

    content: Any
    places: dict[tuple[str, ...], LineColumn] = field(default_factory=dict)
    twins: list[tuple[str, LineColumn]] = field(default_factory=list)

    def faults(self, where: str) -> list[str]:
        """Return a line for every key that stands twice."""
        return [
            f"{where}:{place}: the key {key!r} stands twice"
            for key, place in sorted(self.twins, key=lambda twin: twin[1])
        ]

    def place(self, keys: tuple[str, ...]) -> LineColumn | None:
        """Return where a key stands, or the nearest one around it; None if that is the whole text."""
        return next((self.places[keys[:end]] for end in range(len(keys), 0, -1) if keys[:end] in self.places), None)


class _Loader(yaml.SafeLoader):
    """YAML as written. Private: others change the shared loader."""

    def close(self) -> None:
        """Let go of the text."""
        self.dispose()


def _whole_mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _whole_mapping)


class _TooLargeError(Exception):
    """YAML is larger than settings are."""


def _check_events(text: str) -> None:
    """Stop at the first value that is nested too deep or is one too many, before the rest is read."""
    depth = 0
    for values, event in enumerate(yaml.parse(text, Loader=_Loader), start=1):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_NESTED:
            raise _TooLargeError(f"nested more than {MOST_NESTED} deep")
        if values > MOST_VALUES:
            raise _TooLargeError(f"more than {MOST_VALUES:,} values")


def _size(node: yaml.Node | None, known: dict[int, int]) -> int:
    """Return how many values a node comes to, each alias as often as it is used; too many if one holds itself."""
    if node is None or isinstance(node, yaml.ScalarNode):
        if node is not None and node.tag.endswith((":int", ":float")) and len(node.value) > MOST_DIGITS:
            raise _TooLargeError(f"a number of {len(node.value):,} characters")
        return 1
    if id(node) not in known:
        known[id(node)] = MOST_VALUES + 1  # until it is known: what meets it inside itself has no end
        inner = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in node.value for part in pair]
        known[id(node)] = 1 + sum(_size(part, known) for part in inner)
    return known[id(node)]


def read_yaml(text: str, where: str) -> Any:
    """Parse YAML; UserError says where it is broken, which keys stand twice, or that it is larger than settings are."""
    read = read_yaml_text(text, where)
    if read.twins:
        raise UserError(*read.faults(where))
    return read.content


def read_yaml_text(text: str, where: str) -> YamlText:
    """Parse YAML, with the places of its keys; UserError as `read_yaml`, but for keys that stand twice."""
    if len(text) > MOST_YAML:
        raise UserError(f"{where}: {len(text):,} characters of YAML; at most {MOST_YAML:,} are read")
    try:
        if len(text) > MOST_NESTED:
            _check_events(text)
        with closing(_Loader(text)) as loader:
            node = loader.get_single_node()
            if _size(node, {}) > MOST_VALUES:
                raise _TooLargeError(f"its aliases and merge keys repeat more than {MOST_VALUES:,} values")
            twins = list(_twins(node))
            places = {} if node is None else dict(_places(node))
            return YamlText(None if node is None else loader.construct_document(node), places, twins)
    except _TooLargeError as error:
        raise UserError(f"{where}: {error}") from None
    except yaml.MarkedYAMLError as error:
        mark, said = error.problem_mark, error.problem or error.context
        place = f":{_place(mark)}" if mark else ""
        hint = "; lines are indented by blanks" if "'\\t'" in str(said) else ""
        raise UserError(f"{where}{place}: not YAML: {said}{hint}") from None
    except yaml.reader.ReaderError as error:
        place = f":{_place_of(text, error.position)}"
        raise UserError(
            f"{where}{place}: not YAML: the character {chr(error.character)!r} has no place in it"
        ) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError(f"{where}: not YAML: {str(error).splitlines()[0]}") from None


def _place(mark: yaml.Mark) -> LineColumn:
    return LineColumn(mark.line + 1, mark.column + 1)


def _place_of(text: str, position: int) -> LineColumn:
    before = text[:position].split("\n")
    return LineColumn(len(before), len(before[-1]) + 1)


def _inner(keys: tuple[str, ...], node: yaml.Node) -> Iterator[tuple[tuple[str, ...], yaml.Node, yaml.Node]]:
    """Yield what a node holds: the keys that lead there, the node that stands for its place, and its own node."""
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield (*keys, str(number)), item, item
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.tag == _MERGE:
                for merged in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    yield from _inner(keys, merged)
            elif isinstance(key, yaml.ScalarNode):
                yield (*keys, key.value), key, value


def _places(root: yaml.Node) -> Iterator[tuple[tuple[str, ...], LineColumn]]:
    """Yield the keys that lead to each key and item, and where it stands; later ones go before earlier ones."""
    waiting: list[tuple[tuple[str, ...], yaml.Node]] = [((), root)]
    while waiting:
        keys, node = waiting.pop()
        for inner, shown, value in _inner(keys, node):
            yield inner, _place(shown.start_mark)
            waiting.append((inner, value))


def _twins(root: yaml.Node | None) -> Iterator[tuple[str, LineColumn]]:
    """Yield the keys that stand twice in one mapping, with the later place."""
    waiting, met = [root] if root else [], set()
    while waiting:
        node = waiting.pop()
        if id(node) in met or isinstance(node, yaml.ScalarNode):
            continue
        met.add(id(node))
        pairs = node.value if isinstance(node, yaml.MappingNode) else [(None, item) for item in node.value]
        seen: set[str] = set()
        for key, value in pairs:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    yield key.value, _place(key.start_mark)
                seen.add(key.value)
            waiting.append(value)
