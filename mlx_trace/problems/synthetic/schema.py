"""Problem families as data: load schemas/<expert>/<name>.json and the vocabulary, and validate all of it at once.

Takes a folder, returns `Schema`s ready to draw from; every fault of every file is reported with file and field.
Knows nothing of randomness.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError

from mlx_trace.errors import UserError, meant
from mlx_trace.faults import faults_of, in_words
from mlx_trace.files import read_json
from mlx_trace.language.experts import COMPOSITION
from mlx_trace.language.grade import EXPECTABLE
from mlx_trace.language.steps import NAME, Malformed
from mlx_trace.language.syntax import NoTrace, parse_document
from mlx_trace.problems.synthetic.expression import Evaluate, compile_expression
from mlx_trace.problems.synthetic.schema_file import Quantity, SchemaFile, WordingFile
from mlx_trace.problems.synthetic.template import Template, parse_template
from mlx_trace.problems.synthetic.template_check import TemplateCheck
from mlx_trace.problems.synthetic.vocabulary import Vocabulary, Word, load_vocabulary
from mlx_trace.resources import schemas_dir

VOCABULARY: Final = "vocab"
Split = Literal["train", "eval"]
_VARIABLE: Final = re.compile(r"\b(?:var|entity|from|to): ([^,}]+)")
_REFERENCE: Final = re.compile(r"<([a-z_][a-z0-9_]*(?::s)?)>")


@dataclass(frozen=True)
class Wording:
    """One way to ask a family's question. `pieces` is the canonical trace, text and references in turn."""

    template: Template
    pieces: tuple[str, ...]
    quantities: dict[str, Quantity]  # all of the family's, some drawn otherwise


@dataclass(frozen=True)
class Schema:
    """A problem family, validated and compiled."""

    name: str
    expert: str
    also: tuple[str, ...]
    group: str | None
    description: str
    quantities: dict[str, Quantity]
    derived: dict[str, Evaluate]
    slots: dict[str, tuple[Word, ...]]
    where: tuple[Evaluate, ...]
    answer: Evaluate
    answer_as: str
    constants: frozenset[Fraction]
    wordings: dict[Split, tuple[Wording, ...]]

    @property
    def expected(self) -> str | None:
        """Return the expert that an answer must name; None where several can be right."""
        return None if self.also else self.expert

    @property
    def id(self) -> str:
        """Return expert/name: two experts may have families of one name."""
        return f"{self.expert}/{self.name}"


def load_schemas(folder: Path | None = None) -> dict[str, Schema]:
    """Load every family of a folder (the bundled one by default), by id, in order of id.

    Raises UserError with every fault of every file.
    """
    return _load(folder or schemas_dir())


@lru_cache(maxsize=8)
def _load(folder: Path) -> dict[str, Schema]:
    faults: list[str] = []
    vocabulary = load_vocabulary(folder / VOCABULARY, faults)
    if folder != schemas_dir():  # families from elsewhere have our words, too, unless they say their own
        vocabulary = load_vocabulary(schemas_dir() / VOCABULARY, faults) | vocabulary
    schemas: dict[str, Schema] = {}
    for path in sorted(folder.glob("*/*.json")):
        if path.parent.name == VOCABULARY:
            continue
        schema = _load_schema(path, vocabulary, faults)
        if schema is not None:
            schemas[schema.id] = schema
    if faults:
        raise UserError(*faults)
    if not schemas:
        raise UserError(f"{folder}: holds no schemas (<expert>/<name>.json)")
    return schemas


def select_schemas(names: list[str], schemas: dict[str, Schema]) -> list[Schema]:
    """Return the families named, by name or expert/name, all of them if none is; UserError for unknown ones."""
    chosen: dict[str, Schema] = {}
    unknown = []
    for name in names:
        matches = {key: schema for key, schema in schemas.items() if name in (key, schema.name, schema.expert)}
        chosen |= matches
        if not matches:
            unknown.append(f"there is no schema '{name}'; `mlx-trace generate --list` names them")
    if unknown:
        raise UserError(*unknown)
    return list((chosen or schemas).values())


def _rename(trace: str, names: dict[str, str]) -> str:
    """Return a schema's trace with other names for its variables; references and keys stay as they are."""
    for_any = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    return re.sub(rf"(?<![\w.<>:])(?:{for_any})(?![\w.<>:])", lambda match: names[match[0]], trace) if names else trace


# --- one file --------------------------------------------------------------------------------------------------


def _load_schema(path: Path, vocabulary: Vocabulary, faults: list[str]) -> Schema | None:
    where = f"{path.parent.name}/{path.name}"
    try:
        file = SchemaFile.model_validate(read_json(path))
    except UserError as error:
        faults += error.faults
        return None
    except ValidationError as error:
        faults += faults_of(error, where, explain=partial(_in_words, missing=_missing(error)))
        return None
    check = _Check(path, file, vocabulary)
    schema = check.compile()
    faults += check.faults
    return None if check.faults else schema


def _missing(error: ValidationError) -> list[str]:
    """Return the fields that are missing in a file, which one of its unknown keys may have been meant for."""
    absent = [str(fault["loc"][-1]) for fault in error.errors(include_url=False) if fault["type"] == "missing"]
    return [*absent, *SchemaFile.model_fields]


def _in_words(fault: Any, missing: list[str]) -> str:
    hint = meant(str(fault["loc"][-1]), missing) if fault["type"] == "extra_forbidden" else ""
    return f"{in_words(fault)}; {hint}".rstrip("; ")


class _Check:
    """Compiles one file's schema and collects its faults on the way."""

    def __init__(self, path: Path, file: SchemaFile, vocabulary: Vocabulary) -> None:
        self.path, self.file, self.vocabulary = path, file, vocabulary
        self.expert = file.parts[0].expert if len(file.parts) == 1 else COMPOSITION
        self.faults: list[str] = []
        self.slots = {name: self._slot(name, lists) for name, lists in file.slots.items()}

    def fault(self, where: str, message: str) -> None:
        self.faults.append(f"{self.path.parent.name}/{self.path.name}: {where}: {message}")

    def compile(self) -> Schema:
        file, numbers = self.file, list(self.file.quantities)
        if self.path.stem != file.name or self.path.parent.name != self.expert:
            self.fault("name", f"this family belongs in {self.expert}/{file.name}.json")
        if (file.group is not None) != (self.expert == "arithmetic"):
            self.fault("group", "arithmetic families have a group, others have none")
        for name in file.also:
            if name not in EXPECTABLE or name == self.expert:
                self.fault("also", f"{name!r} is not another expert; those are {', '.join(EXPECTABLE)}")
        for name in set(numbers) & set(file.slots):
            self.fault(f"slots.{name}", "is a quantity too")
        derived = {
            name: self._expression(f"quantities.{name}.derive", quantity.derive, numbers[: numbers.index(name)])
            for name, quantity in file.quantities.items()
            if quantity.derive is not None
        }
        trace = self._trace()
        self._try(trace)
        return Schema(
            name=file.name, expert=self.expert, also=file.also, group=file.group, description=file.description,
            quantities=file.quantities, derived=derived, slots=self.slots,
            where=tuple(self._expression(f"where.{n}", text, numbers, True) for n, text in enumerate(file.where)),
            answer=self._expression("answer", file.answer, numbers), answer_as=file.answer_as,
            constants=frozenset(file.constants),
            wordings={"train": self._wordings("train", trace), "eval": self._wordings("eval", trace)},
        )  # fmt: skip

    def _slot(self, name: str, lists: str | tuple[str, ...]) -> tuple[Word, ...]:
        words: list[Word] = []
        for list_name in (lists,) if isinstance(lists, str) else lists:
            if list_name not in self.vocabulary:
                self.fault(f"slots.{name}", f"there is no vocabulary list {list_name!r}")
            words += self.vocabulary.get(list_name, ())
        return tuple(words)

    def _expression(self, where: str, text: str, names: list[str], truth: bool = False) -> Evaluate:
        try:
            return compile_expression(text, names, truth)
        except ValueError as error:
            self.fault(where, str(error))
            return lambda _: Fraction(1)

    def _trace(self) -> str:
        """Return the canonical trace, with references where values and words go."""
        indent, blocks = ("  ", []) if len(self.file.parts) > 1 else ("", [])
        for part in self.file.parts:
            lines = [f"expert: {part.expert}", f"{indent}trace:", *(f"{indent}- {step}" for step in part.steps)]
            blocks.append(("- " if indent else "") + "\n".join(lines))
        return "\n".join(blocks)

    def _try(self, trace: str) -> None:
        """Read the trace with a value for each of its references."""
        self._check_references("parts", trace)
        pieces = _REFERENCE.split(trace)
        trial = parse_document("".join(piece if index % 2 == 0 else "1" if piece in self.file.quantities
                                       else f"x{index}" for index, piece in enumerate(pieces)))  # fmt: skip
        if isinstance(trial, NoTrace):
            self.fault("parts", trial.message)
            return
        for n, part_read in enumerate(trial.parts):
            for m, step in enumerate(part_read.steps):
                if isinstance(step, Malformed):
                    self.fault(f"parts.{n}.steps.{m}", step.message)

    def _check_references(self, where: str, text: str) -> None:
        for reference in _REFERENCE.findall(text):
            name, _, form = reference.partition(":")
            if not (name in self.slots or (name in self.file.quantities and not form)):
                self.fault(where, f"<{reference}> is neither a quantity nor a slot")

    def _wordings(self, split: Split, trace: str) -> tuple[Wording, ...]:
        parsed, check = [], TemplateCheck(self.file.quantities, self.slots, self.file.constants)
        for index, wording in enumerate(getattr(self.file.templates, split)):
            where = f"templates.{split}.{index}"
            try:
                template = parse_template(wording.text)
            except ValueError as error:
                self.fault(where, str(error))
                continue
            pieces = tuple(_REFERENCE.split(_rename(trace, wording.names)))
            for fault in check.faults(template, set(pieces[1::2])):
                self.fault(where, fault)
            self._check_names(where, trace, wording.names)
            self._check_quantities(where, wording.quantities)
            parsed.append(Wording(template, pieces, self._redrawn(wording)))
        return tuple(parsed)

    def _redrawn(self, wording: WordingFile) -> dict[str, Quantity]:
        """Return the quantities of a wording; what it does not say of one is as the family has it."""
        changed = {}
        for name, quantity in wording.quantities.items():
            kept = {"kind", "distractor"} - quantity.model_fields_set if name in self.file.quantities else ()
            changed[name] = quantity.model_copy(update={key: getattr(self.file.quantities[name], key) for key in kept})
        return self.file.quantities | changed

    def _check_names(self, where: str, trace: str, names: dict[str, str]) -> None:
        variables = dict.fromkeys(_VARIABLE.findall(trace))
        for name, new in names.items():
            if name not in variables:
                self.fault(f"{where}.names.{name}", "the trace has no such variable")
            if not NAME.fullmatch(_REFERENCE.sub("x", new)):
                self.fault(f"{where}.names.{name}", f"{new!r} is not a name")
            self._check_references(f"{where}.names.{name}", new)
        if len({names.get(name, name) for name in variables}) < len(variables):
            self.fault(f"{where}.names", "two variables have one name")

    def _check_quantities(self, where: str, quantities: dict[str, Quantity]) -> None:
        for name, quantity in quantities.items():
            drawn = self.file.quantities.get(name)
            if drawn is None or drawn.derive is not None or quantity.derive is not None:
                self.fault(f"{where}.quantities.{name}", "only a quantity that is drawn can be drawn otherwise")
