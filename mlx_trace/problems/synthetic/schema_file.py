"""What one file of a problem family says, field by field, before anything in it is compared with anything else."""

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from mlx_trace.language.numbers import read_numeral


def _exact(value: object) -> object:
    number = read_numeral(str(value)) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    if number is None:
        raise ValueError(f"{value!r} is not a number")
    return number


Exact = Annotated[Fraction, BeforeValidator(_exact)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Quantity(Strict):
    """A number of a family: drawn from a range or from choices, or derived from others.

    `as` says how a question shows it; a `distractor` stands in the question but not in the trace.
    """

    range: tuple[Exact, Exact] | None = None
    step: Exact = Fraction(1)
    choices: tuple[Exact, ...] | None = None
    derive: str | None = None
    kind: Literal["count", "measure", "money", "percent"] = Field(default="count", alias="as")
    distractor: bool = False

    @model_validator(mode="after")
    def _one_origin(self) -> "Quantity":
        if sum(origin is not None for origin in (self.range, self.choices, self.derive)) != 1:
            raise ValueError("give exactly one of range, choices and derive")
        if self.range and (self.range[0] > self.range[1] or self.step <= 0):
            raise ValueError("range is [low, high] with low ≤ high, and step is above 0")
        if self.choices == ():
            raise ValueError("choices is empty")
        return self


class _PartFile(Strict):
    expert: Literal["entity_track", "arithmetic", "rate_equation", "comparison", "percentage"]
    steps: tuple[str, ...] = Field(min_length=1)


class WordingFile(Strict):
    """One wording of a family's question: a text, or an object with one.

    `names` are what the trace's variables are called where it tells of other things (price: price_per_egg), and
    `quantities` draws numbers in place of the family's that suit it.
    """

    text: str
    names: dict[str, str] = {}
    quantities: dict[str, Quantity] = {}

    @model_validator(mode="before")
    @classmethod
    def _text_alone(cls, wording: object) -> object:
        return {"text": wording} if isinstance(wording, str) else wording


class _Templates(Strict):
    train: tuple[WordingFile, ...] = Field(min_length=1)
    eval: tuple[WordingFile, ...] = Field(min_length=1)


class SchemaFile(Strict):
    """A whole file. `also` names other experts that can be right for the same story."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    description: str = Field(min_length=1)
    group: Literal["sequential", "interleaved", "long_chain", "division_chain", "gap_closing", "everyday"] | None = None
    also: tuple[str, ...] = ()
    quantities: dict[str, Quantity] = Field(min_length=1)
    slots: dict[str, str | tuple[str, ...]] = {}
    where: tuple[str, ...] = ()
    parts: tuple[_PartFile, ...] = Field(min_length=1)
    answer: str
    answer_as: Literal["count", "measure", "money"] = "count"
    constants: tuple[Exact, ...] = ()
    templates: _Templates
