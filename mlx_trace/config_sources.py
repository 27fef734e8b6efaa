"""Where problems come from, as a configuration says, with its defaults; and what holds for all of its sections."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

NUMBER_WORD_RATE: Final = 0.15  # how often a question's small numbers are words
MOST: Final = 10**9  # of anything that is counted
MOST_SAMPLES: Final = 1024  # of one question
HOTTEST: Final = 100.0  # temperature
_DISTRACTORS: Final = "the share of problems with a fact that does not matter"
_FIELDS: Final = "what the file calls its fields, where its names do not say, as {question: Body}"


class Section(BaseModel):
    """Keys of which none is unknown, with counts that something could finish."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="after")
    @classmethod
    def _countable(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse counts that nothing could finish, before anything tries."""
        if type(value) is int and value > MOST and info.field_name != "seed":
            raise ValueError(f"input should be at most {MOST:,}")
        return value


class _Sized(Section):
    n: int | None = Field(None, ge=1, description="how many problems")
    share: float | None = Field(None, gt=0, le=1, description="a part of the whole instead, as 0.4")

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if self.n is not None and self.share is not None:
            raise ValueError("n counts problems and share is a part of the whole; give one of them")
        return self


class SyntheticSource(_Sized):
    """Problems drawn from the schemas, in the historical shares of experts; `weights` multiply families or experts."""

    source: Literal["synthetic"] = Field(description="generated problems")
    schemas: list[str] = Field([], description="families or experts to draw from; none: all")
    weights: dict[str, Annotated[float, Field(ge=0)]] = Field(
        {}, description="what the shares of families or experts are multiplied by, as {percentage: 2}"
    )
    templates_per_schema: int = Field(0, ge=0, description="use the first so many templates of each family; 0: all")
    number_word_rate: float = Field(
        NUMBER_WORD_RATE, ge=0, le=1, description="how often a question's small numbers are words"
    )
    distractors: float = Field(0, ge=0, le=1, description=_DISTRACTORS)

    @model_validator(mode="after")
    def _needs_size(self) -> Self:
        if self.n is None and self.share is None:
            raise ValueError("say how many: n (problems) or share (a part of the whole)")
        return self


FieldName = Literal["question", "answer", "solution", "equation", "trace", "expert", "id", "source"]


class CompiledSource(_Sized):
    """Traces compiled from worked solutions (GSM-8K's form, or what `compile` wrote), each with so many variants.

    Only grounded ones; questions held out for evaluation, one in ten by hash, are left out with all their variants.
    """

    source: Literal["compiled"] = Field(description="worked solutions")
    file: Path = Field(description="what to compile: a file, or a data set of the hub")
    variants: int = Field(0, ge=0, description="tell each problem so many times again, with other numbers and people")
    distractors: float = Field(0, ge=0, le=1, description=_DISTRACTORS)
    fields: dict[FieldName, str] = Field({}, description=_FIELDS)


class FileSource(_Sized):
    """Problems from a file: ours, GSM-8K's, mlx-lm's chat forms, other sets'. Those without a trace serve RL only."""

    source: Literal["file"] = Field(description="problems as they are")
    path: Path = Field(description="a file, or a data set of the hub")
    fields: dict[FieldName, str] = Field({}, description=_FIELDS)


Source = Annotated[SyntheticSource | CompiledSource | FileSource, Field(discriminator="source")]


def read_sources(value: Any) -> Any:
    """Return what is to be a list of sources as it is; ValueError, which says how they are written, if it is none."""
    items = value if isinstance(value, list) else [value]
    paths = [item for item in items if isinstance(item, str)]
    if paths or isinstance(value, dict) or any(isinstance(item, dict) and "source" not in item for item in items):
        raise ValueError(f"input should be a list of sources, such as [{{source: file, path: {[*paths, 'F'][0]}}}]")
    return value
