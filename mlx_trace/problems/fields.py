"""Which field of a row is the question, the answer, the solution: by its name in the known data sets, or as told.

Takes rows of other people's names; returns rows of ours (question, answer, solution, equation, trace, …). The
names are those of GSM-8K, SVAMP, MAWPS, ASDiv, MultiArith, AddSub and SingleEq.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, get_args

from mlx_trace.config_sources import FieldName
from mlx_trace.errors import UserError
from mlx_trace.language.steps import NAME
from mlx_trace.notice import tell
from mlx_trace.setting import field_setting

FIELDS: Final = get_args(FieldName)
_RESULTS: Final = "results"  # what a solution calls its results
_DOUBT: Final = "doubt"  # why a trace is not learnt from
Told = Mapping[Any, str]  # our field → theirs, or several joined by +: {"question": "Body+Question"}
_BODIES: Final = ("body",)  # what a question goes on from
_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "question": ("question", "squestion", "original_text", "problem", "question_text"),
    "answer": ("answer", "final_ans", "lsolutions", "final_answer", "target"),
    "solution": ("solution", "rationale"), "equation": ("equation", "lequations", "formula", "equations"),
    "trace": ("trace",), "expert": ("expert",), "id": ("id", "iindex"), "source": ("source",),
}  # fmt: skip
GOLD_MARK: Final = "####"  # what GSM-8K writes between a solution and its answer
_CHATS: Final = ({"messages"}, {"prompt", "completion"})  # fields of mlx-lm's forms, all of one together
# Read by no one, and known to be no mistake: notes of those sets, and a fold.
_PASSED_OVER: Final = frozenset(
    "equation lequations formula type variation_type solution-type solution_type grade ltemplates lalignments "
    "lqueryvars quants fold ques ques_statement group_nums numbers equations template".split()
)
_MASK: Final = re.compile(r"\b(?:number|N_)[0-9]{1,2}\b")
_FIRST_MASK: Final = re.compile(r"\b(?:number0|N_00?)\b")
_PLACE: Final = re.compile(r"[0-9]+")
_MOST_LAYOUTS: Final = 1000  # of a file


@dataclass(frozen=True, slots=True)
class FieldLayout:
    """Where rows of some fields hold ours, each with theirs; which holds the numbers that masks stand for."""

    ours: tuple[tuple[str, list[str]], ...]
    numbers: str | None
    unread: tuple[str, ...]


class Fields:
    """Reads the rows of one file, and knows which of their fields nobody reads."""

    def __init__(self, told: Told | None = None) -> None:
        self.told = dict(told or {})
        self.unread: dict[str, int] = {}
        self._layouts: dict[tuple[Any, ...], FieldLayout] = {}  # by the fields of a row, of which a file has few kinds

    def read(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row with our names; ValueError if a field that was told is missing."""
        if not self.told and is_chat(row):
            return dict(row)
        layout = self._layout(row)
        ours: dict[str, Any] = {
            field: row[names[0]] if len(names) == 1 else _joined(row[key] for key in names)
            for field, names in layout.ours
        }
        for field in ours.keys() & {"question", "equation"}:
            ours[field] = _unmasked(ours[field], row[layout.numbers] if layout.numbers is not None else [], field)
        results = row.get(_RESULTS)  # which compile writes beside a trace
        if "trace" in ours and isinstance(results, list) and all(map(_is_name, results)):
            ours[_RESULTS] = results
        if "trace" in ours and isinstance(row.get(_DOUBT), str):
            ours[_DOUBT] = row[_DOUBT]
        _join_solution(ours)
        for key in layout.unread:
            self.unread[key] = self.unread.get(key, 0) + 1
        return ours

    def _layout(self, row: Mapping[str, Any]) -> FieldLayout:
        fields = tuple(row)
        layout = self._layouts.get(fields)
        if layout is None:
            if len(self._layouts) >= _MOST_LAYOUTS:
                self._layouts.clear()
            layout = self._layouts[fields] = self._lay_out(row)
        return layout

    def _lay_out(self, row: Mapping[str, Any]) -> FieldLayout:
        keys = {key.strip().lower(): key for key in reversed(list(row)) if isinstance(key, str)}
        named = ((field, self._told(field, row) if field in self.told else _known(field, keys)) for field in FIELDS)
        ours = tuple((field, names) for field, names in named if names)
        used = {name for _, names in ours for name in names} | ({_RESULTS, _DOUBT} if "trace" in dict(ours) else set())
        unread = (key for key in row if key not in used and str(key).strip().lower() not in _PASSED_OVER)
        return FieldLayout(ours, keys.get("numbers"), tuple(map(str, unread)))

    def _told(self, field: str, row: Mapping[str, Any]) -> list[str]:
        told = self.told[field]
        names = [told] if told in row else [name.strip() for name in told.split("+")]
        if missing := [name for name in names if name not in row]:
            raise ValueError(f"no field {missing[0]!r} for the {field}; {_has(row)}")
        return names

    def tell(self, path: Path) -> None:
        """Say in one line which fields were not read, if there were any."""
        if self.unread:
            names = ", ".join(list(self.unread)[:8]) + (" …" if len(self.unread) > 8 else "")
            tell(f"{path}: not read: {names} ({field_setting('question')} says what a field is)")


def _joined(values: Iterable[object]) -> str:
    """Join texts in their order; one that the next begins with is there already."""
    texts = [str(value).strip() for value in values if value is not None]
    kept = [text for text, after in zip_longest(texts, texts[1:], fillvalue="") if not text or not _begins(after, text)]
    return " ".join(kept)


def _begins(text: str, beginning: str) -> bool:
    return "".join(text.split()).startswith("".join(beginning.split()))


def _is_name(value: object) -> bool:
    return isinstance(value, str) and (not value or NAME.fullmatch(value) is not None)


def _join_solution(ours: dict[str, Any]) -> None:
    """Put a solution of its own in front of the answer, as GSM-8K has them; a row with a trace keeps it by itself."""
    solution = ours.pop("solution", None)
    if isinstance(solution, str) and ours.get("trace"):
        ours["solution"] = solution
    elif not isinstance(solution, str) or GOLD_MARK in str(ours.get("answer", "")):
        pass
    elif GOLD_MARK in solution and "answer" not in ours:
        ours["answer"] = solution
    elif ours.get("answer") is not None:
        answer = ours["answer"]
        answer = answer[0] if isinstance(answer, list) and len(answer) == 1 else answer
        ours["answer"] = f"{solution.partition(GOLD_MARK)[0].rstrip()}\n{GOLD_MARK} {answer}"


def _known(field: str, keys: Mapping[str, str]) -> list[str]:
    name = next((keys[name] for name in _NAMES[field] if name in keys), None)
    if name is None:
        return []
    bodies = [keys[body] for body in _BODIES if field == "question" and body in keys]
    return [*bodies, name]


def is_chat(row: Mapping[str, Any]) -> bool:
    """Tell whether a row is in one of mlx-lm's chat forms."""
    return any(fields <= row.keys() for fields in _CHATS)


def check_fields(ours: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    """Check that a row, read with our names, has a question and an answer (or a trace); ValueError says what it has."""
    if not is_chat(ours):
        for field in ("question", "answer"):
            if field not in ours and not (field == "answer" and ours.get("trace")):
                unless = ", unless its cell is empty" if ours.keys() & {"question", "answer"} else ""
                raise ValueError(missing(field, row) + unless)


def missing(field: str, row: Mapping[str, Any]) -> str:
    """Return what is wrong with a row that lacks a field, and how to say which one it is."""
    return f"no {field}: {_has(row)}; {field_setting(field)} says which it is"


def _has(row: Mapping[str, Any]) -> str:
    names = [str(key)[:40] for key in row]
    return f"the row has {', '.join(names[:12])}{' …' if names[12:] else ''}" if names else "the row is empty"


def _unmasked(text: Any, numbers: Any, field: str) -> Any:
    """Return a text with its numbers put back, where it has masks (number0, N_00); ValueError if none stand beside."""
    if not isinstance(text, str) or not _MASK.search(text) or (numbers == [] and not _FIRST_MASK.search(text)):
        return text
    values = numbers if isinstance(numbers, list) else _numbers(str(numbers).strip("[] "))

    def value(mask: re.Match[str]) -> str:
        place = int(_PLACE.search(mask[0])[0])  # type: ignore[index]  # a mask has its place
        if place >= len(values):
            raise ValueError(f"{mask[0]} in the {field} has no number beside it")
        return str(values[place]).removesuffix(".0")

    return _MASK.sub(value, text)


def _numbers(text: str) -> list[str]:
    """Return the numbers of a cell, which blanks part (28.0 1,200.0), or commas."""
    parted = text.split() if not re.search(r",\s", text) and len(text.split()) > 1 else re.split(r"[\s,]+", text)
    return [number.replace(",", "") for number in parted]


def parse_told(texts: list[str]) -> dict[str, str]:
    """Return what `--field question=Body` and its like say; UserError for what says nothing."""
    told: dict[str, str] = {}
    for text in texts:
        field, equals, name = (part.strip() for part in text.partition("="))
        if field not in FIELDS or not equals or not name:
            known = ", ".join(FIELDS)
            raise UserError(f"--field {text}: write --field OURS=THEIRS, as question=Body; ours are {known}")
        if field in told:
            raise UserError(f"--field {text}: {field} is {told[field]} already; join several as {field}=A+B")
        told[field] = name
    return told
