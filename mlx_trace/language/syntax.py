"""Text ⇄ trace: find the document in a model's output, parse it, and write canonical text.

Takes any text or bytes and never raises; a text without a trace gives a `NoTrace` that says why. Knows nothing of
experts' ops or execution. Canonical text, in any form, has a fast path before the YAML loader, with the same result.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml
from pydantic import ValidationError

from mlx_trace.config import OPERATION_FIRST, TraceForm
from mlx_trace.language.canonical import read_line
from mlx_trace.language.comments import is_comment
from mlx_trace.language.steps import (
    Malformed,
    Step,
    read_step,
    render_step,
)

MAX_BYTES: Final = 16 * 1024

_Loader: Final[Any] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # the failsafe schema: every scalar is text
_FENCE: Final = re.compile(r"^[ \t]*`{3,}([^`\r\n]*)\r?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Part:
    """One expert and its steps."""

    expert: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """A program: one part, or several run in order (a composition)."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class NoTrace:
    """A text without a trace, and why."""

    message: str


def parse(text: str | bytes) -> Trace | NoTrace:
    """Read the trace in a model's output: the text up to its first fence, or the first fenced block that holds one.

    Never raises. The outer shape must be right; steps that are not become `Malformed` steps of the trace.
    """
    if len(text) > MAX_BYTES or (isinstance(text, str) and len(text.encode("utf-8", errors="replace")) > MAX_BYTES):
        return NoTrace(f"the text is longer than {MAX_BYTES} bytes")
    if isinstance(text, bytes):
        text = text.decode("utf-8", errors="replace")
    text = text.removeprefix("\ufeff")  # a byte-order mark
    first: NoTrace | None = None
    for candidate in _candidates(text):
        parsed = parse_document(candidate)
        if isinstance(parsed, Trace):
            return parsed
        first = first or parsed
    return first or NoTrace("the text is empty")


def parse_document(document: str) -> Trace | NoTrace:
    """Parse one document, with nothing around it."""
    return _parse_canonical(document) or _parse_yaml(document)


def render(trace: Trace, form: TraceForm = OPERATION_FIRST) -> str:
    """Write canonical text: one flow-style step a line, parts of a composition indented; no newline at the end."""
    if len(trace.parts) == 1:
        return "\n".join(_render_part(trace.parts[0], form))
    blocks = (_render_part(part, form) for part in trace.parts)
    return "\n".join("\n".join(["- " + first, *("  " + line for line in rest)]) for first, *rest in blocks)


def _render_part(part: Part, form: TraceForm) -> list[str]:
    return [f"expert: {part.expert}", "trace:", *("- " + render_step(step, form) for step in part.steps)]


def _candidates(text: str) -> Iterator[str]:
    """Yield what may be the document: the text before the first fence, then each fenced block.

    A prompt may have opened a fence, so a lone fence can be a closing one. A fence with an info string
    always opens a block; a bare one closes the open block, or opens one.
    """
    fences = list(_FENCE.finditer(text))
    head = text[: fences[0].start()] if fences else text
    if head.strip():
        yield head
    inside = False
    for index, fence in enumerate(fences):
        inside = bool(fence[1].strip()) or not inside
        if inside:
            end = fences[index + 1].start() if index + 1 < len(fences) else len(text)
            yield text[fence.end() : end]


# --- the YAML path ---------------------------------------------------------------------------------------------


class _Refused(Exception):
    """A document that is YAML but uses what a trace may not."""


def _parse_yaml(document: str) -> Trace | NoTrace:
    try:
        tree = _load(document)
    except _Refused as error:
        return NoTrace(str(error))
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        return NoTrace(f"not YAML{line}: {error.problem or error.context}")
    except (yaml.YAMLError, ValueError, OverflowError):
        return NoTrace("not YAML: it holds characters that YAML does not allow")
    if isinstance(tree, _Mapping):
        return _single(tree)
    if not isinstance(tree, list):
        return NoTrace("a trace is a mapping with expert and trace, or a list of them")
    if not tree:
        return NoTrace("an empty list is not a trace")
    parts = [_single(item) if isinstance(item, _Mapping) else NoTrace("a part is not a mapping") for item in tree]
    wrong = next((part for part in parts if isinstance(part, NoTrace)), None)
    return wrong or Trace(tuple(part.parts[0] for part in parts if isinstance(part, Trace)))


def _single(mapping: "_Mapping") -> Trace | NoTrace:
    keys = [key for key, _ in mapping.pairs]
    if sorted(keys) != ["expert", "trace"]:
        shown = ", ".join(key[:20] for key in keys[:6]) or "nothing"
        return NoTrace(f"a trace has exactly expert and trace; this has {shown}")
    values = dict(mapping.pairs)
    if not isinstance(values["expert"], str):
        return NoTrace("expert is not text")
    if not isinstance(values["trace"], list):
        return NoTrace("trace is not a list of steps")
    return Trace((Part(values["expert"], tuple(_step(item) for item in values["trace"])),))


def _step(item: object) -> Step:
    if isinstance(item, _Mapping):
        return read_step([(key, _plain(value)) for key, value in item.pairs])
    shown = item if isinstance(item, str) else "[…]"
    return Malformed("wrong_field", f"a step is a mapping, not {shown[:40] or 'nothing'}", shown)


def _plain(value: object) -> object:
    return {} if isinstance(value, _Mapping) else value


class _Mapping:
    """A YAML mapping as written: its pairs in order, duplicates kept. A key that is not text shows as `?`."""

    def __init__(self) -> None:
        self.pairs: list[tuple[str, Any]] = []


class _Frame:
    """An open collection while events arrive; `key` waits for its value."""

    def __init__(self, node: "list[Any] | _Mapping") -> None:
        self.node = node
        self.key: str | None = None


def _load(document: str) -> Any:
    """Build the tree from YAML events, without recursion, refusing anchors, aliases, tags and further documents."""
    frames: list[_Frame] = []
    root: Any = ""
    documents = 0
    for event in yaml.parse(document, Loader=_Loader):
        _refuse(event)
        match event:
            case yaml.DocumentStartEvent():
                documents += 1
                if documents > 1:
                    raise _Refused("there are several documents")
            case yaml.SequenceStartEvent():
                frames.append(_Frame([]))
            case yaml.MappingStartEvent():
                frames.append(_Frame(_Mapping()))
            case yaml.ScalarEvent():
                root = _attach(frames, event.value)
            case yaml.CollectionEndEvent():
                closed = frames.pop()
                root = _attach(frames, closed.node)
            case _:  # where a stream or a document begins or ends
                pass
    return root if documents else ""


def _refuse(event: Any) -> None:
    if getattr(event, "anchor", None) is not None:
        raise _Refused("YAML anchors and aliases have no place in a trace")
    if getattr(event, "tag", None) is not None:
        raise _Refused("YAML tags have no place in a trace")


def _attach(frames: list[_Frame], value: Any) -> Any:
    """Put a finished value into the innermost open collection; without one, it is the document."""
    if not frames:
        return value
    frame = frames[-1]
    if isinstance(frame.node, list):
        frame.node.append(value)
    elif frame.key is None:
        frame.key = value if isinstance(value, str) else "?"
    else:
        frame.node.pairs.append((frame.key, value))
        frame.key = None
    return None


# --- the fast path ---------------------------------------------------------------------------------------------

_EXPERT: Final = re.compile("expert: ([A-Za-z_][A-Za-z0-9_]*)", re.ASCII)


def _parse_canonical(document: str) -> Trace | None:
    """Parse canonical text; None for any other, malformed steps included, which the YAML path then reads."""
    lines = document.strip("\n").split("\n")
    if "#" in document:
        lines = [line for line in lines if not is_comment(line)] or [""]
    try:
        if lines[0].startswith("expert: "):
            part = _canonical_part(lines)
            return None if part is None else Trace((part,))
        if lines[0].startswith("- expert: "):
            return _canonical_composition(lines)
    except ValidationError:
        pass
    return None


def _canonical_composition(lines: list[str]) -> Trace | None:
    starts = [index for index, line in enumerate(lines) if line.startswith("- ")]
    parts = []
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        if not all(line.startswith("  ") for line in lines[start + 1 : end]):
            return None
        part = _canonical_part([line[2:] for line in lines[start:end]])
        if part is None:
            return None
        parts.append(part)
    return Trace(tuple(parts))


def _canonical_part(lines: list[str]) -> Part | None:
    expert = _EXPERT.fullmatch(lines[0])
    if expert is None or len(lines) < 3 or lines[1] != "trace:":
        return None
    steps = []
    for line in lines[2:]:
        step = read_line(line)
        if step is None:
            return None
        steps.append(step)
    return Part(expert[1], tuple(steps))
