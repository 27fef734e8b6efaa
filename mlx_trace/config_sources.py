"""Where problems come from, as a configuration says, with its defaults; and what holds for all of its sections."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

NUMBER_WORD_RATE: Final = 0.15  # how often a question's small numbers are words
MOST: Final = 10**9  # of anything that is counted


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
    n: int | None = Field(None, ge=1)
    share: float | None = Field(None, gt=0, le=1)

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if self.n is not None and self.share is not None:
            raise ValueError("n counts problems and share is a part of the whole; give one of them")
        return self


class SyntheticSource(_Sized):
    """Problems drawn from the schemas, in the historical shares of experts; `weights` multiply families or experts."""

    source: Literal["synthetic"]
    schemas: list[str] = []
    weights: dict[str, Annotated[float, Field(ge=0)]] = {}
    templates_per_schema: int = Field(0, ge=0)
    number_word_rate: float = Field(NUMBER_WORD_RATE, ge=0, le=1)
    distractors: float = Field(0, ge=0, le=1)  # the share of problems with a fact that does not matter

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

    source: Literal["compiled"]
    file: Path
    variants: int = Field(0, ge=0)
    distractors: float = Field(0, ge=0, le=1)  # as of synthetic ones
    fields: dict[FieldName, str] = {}  # what the file calls them, where its names do not say: {question: Body}


class FileSource(_Sized):
    """Problems from a file: ours, GSM-8K's, mlx-lm's chat forms, other sets'. Those without a trace serve RL only."""

    source: Literal["file"]
    path: Path
    fields: dict[FieldName, str] = {}  # as of compiled ones


Source = Annotated[SyntheticSource | CompiledSource | FileSource, Field(discriminator="source")]
