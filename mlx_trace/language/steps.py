"""The steps a trace is made of: one frozen pydantic dataclass an op, told apart by `op`.

Takes a mapping of field names to text, returns a `Step`; what is wrong with one step by itself becomes a
`Malformed` step with its kind. Knows nothing of experts, variables or execution.
"""

import re
from dataclasses import fields
from fractions import Fraction
from functools import lru_cache
from itertools import takewhile
from typing import Annotated, Any, ClassVar, Final, Literal, get_args

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails, PydanticCustomError

from mlx_trace.config import OPERATION_FIRST, TraceForm
from mlx_trace.language.numbers import read_numeral, spell

Operand = str | Fraction  # a variable's name, or a literal
ComputeOp = Literal["add", "sub", "mul", "div"]

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)
SOURCE: Final = re.compile(r"prev\.result|sub(0|[1-9][0-9]?)\.result", re.ASCII)
LONGEST_NAME: Final = 32  # characters of the names that golds use and constrained models write; the solver takes any
COMPUTE_OPS: Final[tuple[ComputeOp, ...]] = get_args(ComputeOp)


def _name(value: object) -> object:
    if isinstance(value, str) and NAME.fullmatch(value):
        return value
    raise PydanticCustomError("bad_name", "{field} is not a name", {"field": _show(value)})


def _literal(value: object) -> object:
    number = value if isinstance(value, Fraction) else read_numeral(value) if isinstance(value, str) else None
    if number is None:
        hint = "; write numbers without commas" if isinstance(value, str) and "," in value else ""
        raise PydanticCustomError("bad_value", "{field} is not a number" + hint, {"field": _show(value)})
    return number


def _operand(value: object) -> object:
    if isinstance(value, Fraction):
        return value
    if isinstance(value, str):
        if NAME.fullmatch(value):
            return value
        if (number := read_numeral(value)) is not None:
            return number
    raise PydanticCustomError("bad_value", "{field} is neither a name nor a number", {"field": _show(value)})


def _source(value: object) -> object:
    if isinstance(value, str) and SOURCE.fullmatch(value):
        return value
    allowed = "prev.result or subN.result"
    raise PydanticCustomError("bad_source", "source is {field}, not " + allowed, {"field": _show(value)})


def _show(value: object) -> str:
    """Quote a value that stood where text was expected, shortened to 40 characters."""
    text = value if isinstance(value, str) else "a mapping" if isinstance(value, dict) else "a list"
    return f"'{text[:40]}{'…' if len(text) > 40 else ''}'" if isinstance(value, str) else text


Name = Annotated[str, BeforeValidator(_name)]
Literal_ = Annotated[Fraction, BeforeValidator(_literal)]
Operand_ = Annotated[Any, BeforeValidator(_operand)]
Source = Annotated[str, BeforeValidator(_source)]

_CONFIG = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
"""Fields stand in the order canonical text shows them; `from_` and `to` are written from and to."""


@dataclass(frozen=True, slots=True, config=_CONFIG)
class Init:
    """Define `var` by a number."""

    var: Name
    value: Literal_
    op: Literal["init"] = "init"


@dataclass(frozen=True, slots=True, config=_CONFIG)
class InitFrom:
    """Define `var` by an earlier part's answer: `prev.result` or `subN.result`."""

    var: Name
    source: Source
    op: Literal["init"] = "init"


@dataclass(frozen=True, slots=True, config=_CONFIG)
class Compute:
    """Define `var` by add or mul of two or more operands, or sub or div of exactly two."""

    compute_op: ComputeOp
    args: tuple[Operand_, ...]
    var: Name
    op: Literal["compute"] = "compute"

    def __post_init__(self) -> None:
        if len(self.args) < 2 or (len(self.args) > 2 and self.compute_op in ("sub", "div")):
            needs = "exactly two" if self.compute_op in ("sub", "div") else "two or more"
            message = "{op} takes " + needs + " args, got {got}"
            raise PydanticCustomError("wrong_field", message, {"op": self.compute_op, "got": len(self.args)})


@dataclass(frozen=True, slots=True, config=_CONFIG)
class Percent:
    """Define `var` by a percentage of `base`; `rate` is in percent."""

    base: Operand_
    rate: Operand_
    var: Name
    op: Literal["percent_of", "percent_off", "percent_increase"]


@dataclass(frozen=True, slots=True, config=_CONFIG)
class Consume:
    """Take `amount` from `entity`."""

    entity: Name
    amount: Operand_
    op: Literal["consume"] = "consume"


@dataclass(frozen=True, slots=True, config=_CONFIG)
class AddEntity:
    """Give `amount` to `entity`, which starts at 0 if undefined."""

    entity: Name
    amount: Operand_
    op: Literal["add_entity"] = "add_entity"


@dataclass(frozen=True, slots=True, config=_CONFIG)
class Transfer:
    """Move `amount` from one entity to another, which starts at 0 if undefined."""

    from_: Annotated[Name, Field(validation_alias="from")]
    to: Name
    amount: Operand_
    op: Literal["transfer"] = "transfer"


@dataclass(frozen=True, slots=True, config=_CONFIG)
class Query:
    """Name the answer."""

    var: Name
    op: Literal["query"] = "query"


@dataclass(frozen=True, slots=True)
class Malformed:
    """A step that cannot be read; executing it fails with `kind` and `message`. `text` is how it was written."""

    kind: str
    message: str
    text: str = ""
    op: ClassVar[str] = "malformed"


Step = Init | InitFrom | Compute | Percent | Consume | AddEntity | Transfer | Query | Malformed

_BY_OP: Final[dict[str, type]] = {
    "init": Init, "compute": Compute, "percent_of": Percent, "percent_off": Percent, "percent_increase": Percent,
    "consume": Consume, "add_entity": AddEntity, "transfer": Transfer, "query": Query,
}  # fmt: skip
OPS: Final = tuple(_BY_OP)
_ADAPTERS: Final = {cls: TypeAdapter[Any](cls) for cls in {*_BY_OP.values(), InitFrom}}
_SPELLINGS: Final = {"from_entity": "from", "to_entity": "to"}
_BEFORE_COMMA: Final = re.compile("[+-]?[0-9]{1,3}", re.ASCII)
_THOUSANDS: Final = re.compile(r"[0-9]{3}(?:\.[0-9]+)?", re.ASCII)
_DEEPEST: Final = 3  # lists in lists that a malformed step's text still shows


def read_step(pairs: list[tuple[str, object]]) -> Step:
    """Read one step from its (key, value) pairs, as they stand in the text; duplicates included.

    A value is text or a list of texts; anything else is malformed.
    """
    text = "{" + ", ".join(f"{key}: {_plain(value)}" for key, value in pairs) + "}"
    if comma := _thousands_comma(pairs):
        return Malformed("bad_value", f"the comma in {comma} ends the value; write {comma.replace(',', '')}", text)
    values = dict(pairs)
    op = values.get("op")
    if len(values) < len(pairs):
        twice = next(key for n, (key, _) in enumerate(pairs) if key in dict(pairs[:n]))
        return Malformed("wrong_field", f"{twice} is given twice", text)
    if op is None:
        return Malformed("wrong_field", "op is missing", text)
    if not isinstance(op, str) or op not in _BY_OP:
        return Malformed("unknown_op", f"there is no op {_show(op)}; ops are {', '.join(OPS)}", text)
    if op == "transfer":
        values = {_SPELLINGS.get(key, key): value for key, value in pairs}
        if len(values) < len(pairs):
            return Malformed("wrong_field", "from and to are given twice", text)
    cls: type = InitFrom if op == "init" and "source" in values and "value" not in values else _BY_OP[op]
    try:
        step: Step = _ADAPTERS[cls].validate_python(values)
    except ValidationError as error:
        return Malformed(*_explain(op, error.errors(include_url=False)), text)
    return step


def _explain(op: str, errors: list[ErrorDetails]) -> tuple[str, str]:
    """Name the worst fault of a step: a wrong field before a bad name or value."""
    fields_ = {"missing": "is missing", "unexpected_keyword_argument": "does not belong"}
    for error in errors:
        if error["type"] in fields_:
            field = str(error["loc"][0])
            allowed = "var and either value or source" if op == "init" else ", ".join(field_names(op))
            return "wrong_field", f"{op} has {allowed}; {field} {fields_[error['type']]}"
    error = errors[0]
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] in ("bad_name", "bad_value"):
        return error["type"], f"{where}: {error['msg']}"
    if error["type"] in ("bad_source", "wrong_field"):
        return error["type"], error["msg"]
    allowed = f"one of {', '.join(COMPUTE_OPS)}" if where == "compute_op" else "a list of names and numbers"
    return "bad_value", f"{where} is {_show(error['input'])}, not {allowed}"


def _thousands_comma(pairs: list[tuple[str, object]]) -> str | None:
    """Return the number that a comma has split, as in `value: 80,000`, which YAML reads as two keys."""
    for index, (_, value) in enumerate(pairs):
        if not isinstance(value, str) or not _BEFORE_COMMA.fullmatch(value):
            continue
        groups = takewhile(lambda pair: pair[1] == "" and _THOUSANDS.fullmatch(pair[0]), pairs[index + 1 :])
        if parts := [key for key, _ in groups]:
            return ",".join([value, *parts])
    return None


def _plain(value: object, depth: int = 0) -> str:
    if isinstance(value, list):
        return "[…]" if depth == _DEEPEST else "[" + ", ".join(_plain(item, depth + 1) for item in value) + "]"
    return value if isinstance(value, str) else "{…}"


def field_names(op: str) -> list[str]:
    """Return the fields of an op in canonical order, as written; `init` also takes source for value."""
    return [field.name.removesuffix("_") for field in fields(_BY_OP[op]) if field.name != "op"]


def render_step(step: Step, form: TraceForm = OPERATION_FIRST) -> str:
    """Write a step in canonical flow style, its keys in a form's order; a malformed one as it was read."""
    return step.text if isinstance(step, Malformed) else _rendered(step, form)


@lru_cache(maxsize=1 << 12)  # traces have most of their steps in common
def _rendered(step: Step, form: TraceForm) -> str:
    written = _WRITTEN[type(step)]
    if form != OPERATION_FIRST:
        written = sorted(written, key=lambda field: field[1] != "var")
    shown = (f", {key}: {_render_value(getattr(step, name))}" for name, key in written)
    return f"{{op: {step.op}{''.join(shown)}}}"


def _render_value(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_render_value(item) for item in value) + "]"
    return spell(value) if isinstance(value, Fraction) else str(value)


_WRITTEN: Final = {  # the fields of each kind of step but for its op, each with what it is called in a trace
    step: [(field.name, field.name.removesuffix("_")) for field in fields(step) if field.name != "op"]
    for step in get_args(Step)
}
