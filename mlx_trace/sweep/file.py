"""What a sweep's file says: a base configuration, the arms that change it, seeds, and what each run is measured on."""

from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from mlx_trace.config import unquoted_off
from mlx_trace.errors import UserError
from mlx_trace.faults import faults_of
from mlx_trace.files import read_text
from mlx_trace.yaml_text import read_yaml


class Measure(BaseModel):
    """A set that every run is measured on, with the flags of `mlx-trace eval`; `gold_loss` measures that instead."""

    model_config = ConfigDict(extra="forbid", strict=True)

    data: str
    n: int | None = Field(None, ge=1)
    gold_loss: bool = False
    constraint: Literal["scope", "none"] = "scope"
    grounding: Annotated[Literal["hard", "off"], BeforeValidator(unquoted_off)] = "hard"
    rules: Annotated[str, BeforeValidator(unquoted_off)] = "all"
    max_tokens: int = Field(400, ge=1)
    samples: int = Field(1, ge=1)
    temperature: float | None = Field(None, ge=0)
    batch_size: int = Field(64, ge=1)

    def flags(self) -> list[str]:
        """Return the flags of eval that say so."""
        told = self.model_dump(exclude={"gold_loss"}, exclude_none=True)
        flags = [
            part
            for name, value in told.items()
            for part in ("-n" if name == "n" else f"--{name.replace('_', '-')}", str(value))
        ]
        return flags + ["--gold-loss"] * self.gold_loss

    def __str__(self) -> str:
        own = self.model_dump(exclude={"data", "gold_loss"}, exclude_defaults=True, exclude_none=True)
        name = Path(self.data).stem + (", gold loss" if self.gold_loss else "")
        return name + "".join(f", {key} {value}" for key, value in own.items())


class SweepFile(BaseModel):
    """What is compared: `arms` by name, or every combination of what `grid` lists, over `base` and `set`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    base: str
    set: dict[str, Any] = Field(default_factory=dict)
    arms: dict[str, dict[str, Any]] = Field(default_factory=dict)
    grid: dict[str, list[Any]] = Field(default_factory=dict)
    seeds: list[int] = Field(default_factory=lambda: [0], min_length=1)
    measure: list[Measure] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if bool(self.arms) == bool(self.grid):
            raise ValueError("give arms (names with changes) or grid (keys with lists of values)")
        if any(not values for values in self.grid.values()):
            raise ValueError("grid: a key has no values")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: one is given twice")
        if len(set(map(str, self.measure))) < len(self.measure):
            raise ValueError("measure: one is given twice")
        return self

    def changes(self) -> dict[str, dict[str, Any]]:
        """Return what each arm changes, by its name."""
        if self.arms:
            return self.arms
        drawn = [dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())]
        return {", ".join(f"{key} {_brief(value)}" for key, value in change.items()): change for change in drawn}


def read_sweep(file: Path) -> SweepFile:
    """Read a sweep's file; UserError with every fault."""
    content = read_yaml(read_text(file), str(file))
    if not isinstance(content, dict):
        raise UserError(f"{file}: is no sweep: keys such as base, arms and measure, with their values")
    try:
        return SweepFile.model_validate(content)
    except ValidationError as error:
        raise UserError(*faults_of(error, str(file))) from None


def _brief(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).strip().removesuffix("...").strip()
