"""What a sweep's file says: a base configuration, the arms that change it, seeds, and what each run is measured on.

A directory of configurations is a sweep as well: each is an arm, and its `sweep.yaml` says the rest.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from mlx_trace.config import RENAMED
from mlx_trace.config_decoding import read_rules, unquoted_off
from mlx_trace.config_file import find_config
from mlx_trace.config_sources import HOTTEST, MOST, MOST_SAMPLES
from mlx_trace.errors import UserError
from mlx_trace.faults import faults_of, in_words, located, near_key
from mlx_trace.files import read_text
from mlx_trace.resources import configs_dir
from mlx_trace.yaml_text import YamlText, read_yaml_text

SETTINGS: Final = "sweep.yaml"  # of a directory


def _known_rules(rules: str) -> str:
    read_rules(rules)
    return rules


class Measure(BaseModel):
    """A set that every run is measured on, with the flags of `mlx-trace eval`; `gold_loss` measures that instead."""

    model_config = ConfigDict(extra="forbid", strict=True)

    data: str
    n: int | None = Field(None, ge=1)
    gold_loss: bool = False
    constraint: Literal["scope", "none"] = "scope"
    grounding: Annotated[Literal["hard", "off"], BeforeValidator(unquoted_off)] = "hard"
    rules: Annotated[str, BeforeValidator(unquoted_off), AfterValidator(_known_rules)] = "all"
    max_tokens: int = Field(400, ge=1, le=MOST)
    samples: int = Field(1, ge=1, le=MOST_SAMPLES)
    if_there: bool = False  # left out where its file is not there
    temperature: float | None = Field(None, ge=0, le=HOTTEST)
    batch_size: int = Field(64, ge=1, le=MOST)

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Self:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(f"samples {self.samples}: at temperature 0 all replies are one")
        if self.samples > 1 and self.gold_loss:
            raise ValueError(f"gold_loss reads gold traces, and samples {self.samples} asks for replies")
        return self

    def flags(self) -> list[str]:
        """Return the flags of eval that say so."""
        told = self.model_dump(exclude={"gold_loss", "if_there"}, exclude_none=True)
        flags = [
            part
            for name, value in told.items()
            for part in ("-n" if name == "n" else f"--{name.replace('_', '-')}", str(value))
        ]
        return flags + ["--gold-loss"] * self.gold_loss

    def __str__(self) -> str:
        own = self.model_dump(exclude={"data", "gold_loss", "if_there"}, exclude_defaults=True, exclude_none=True)
        name = Path(self.data).stem + (", gold loss" if self.gold_loss else "")
        return name + "".join(f", {key} {value}" for key, value in own.items())


class _Compared(BaseModel):
    """What every sweep says: keys for all runs, seeds, what they are measured on, and figures from elsewhere by arm."""

    model_config = ConfigDict(extra="forbid", strict=True)

    set: dict[str, Any] = Field(default_factory=dict)
    seeds: list[int] = Field(default_factory=lambda: [0], min_length=1)
    measure: list[Measure] = Field(min_length=1)
    reported: dict[str, dict[str, str]] = Field(default_factory=dict)  # arm: {heading: figure}
    _file: str = PrivateAttr("")
    _read: YamlText = PrivateAttr(default_factory=lambda: YamlText({}))

    @field_validator("seeds", "measure")
    @classmethod
    def _each_once(cls, values: list[Any]) -> list[Any]:
        if twice := [value for value, count in Counter(map(str, values)).items() if count > 1]:
            raise ValueError(f"{twice[0]} is given twice")
        return values

    def located(self, keys: Sequence[str]) -> str:
        """Return where keys stand in the file: `FILE:LINE:COLUMN: KEY`."""
        return located(self._file, self._read.place(tuple(keys)), keys)

    def origin(self, arm: str, seed: int, keys: Sequence[str]) -> str | None:
        """Return where in the file stands what makes keys of an arm's configuration what they are; None where its own
        file says so."""
        told = {RENAMED.get(key, key): place for key, place in self._places(arm).items()}
        told["seed"] = ("seeds", str(self.seeds.index(seed)))
        for end in range(len(keys), 0, -1):
            if (place := told.get(".".join(keys[:end]))) is not None:
                return self.located((*place, *keys[end:]))
        section = "".join(f"{key}." for key in keys)  # that is wrong as a whole, a part of it being said here
        within = [place[:-1] for key, place in told.items() if key.startswith(section) and key != "seed"]
        return ": ".join([self.located(within[-1]), *([section[:-1]] if section else [])]) if within else None

    def _places(self, arm: str) -> dict[str, tuple[str, ...]]:
        """Return by each key that is set for an arm's configuration the keys that lead to it in the file."""
        return {key: ("set", key) for key in self.set}

    def measures(self) -> list[Measure]:
        """Return what is measured: all, but for files that need not be there and are not."""
        return [measure for measure in self.measure if not measure.if_there or Path(measure.data).exists()]


class SweepFile(_Compared):
    """What is compared: `arms` by name, or every combination of what `grid` lists, over `base` and `set`."""

    base: str
    arms: dict[str, dict[str, Any]] = Field(default_factory=dict)
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if bool(self.arms) == bool(self.grid):
            raise ValueError("give arms (names with changes) or grid (keys with lists of values)")
        return self

    def _places(self, arm: str) -> dict[str, tuple[str, ...]]:
        change = self.changes()[arm][1]
        own = {key: ("arms", arm, key) for key in change} if self.arms else {
            key: ("grid", key, str(next(n for n, known in enumerate(self.grid[key]) if known is value)))
            for key, value in change.items()}  # fmt: skip
        return super()._places(arm) | own

    def changes(self) -> dict[str, tuple[Path, dict[str, Any]]]:
        """Return by each arm's name the configuration that it is of, and what it changes."""
        base = find_config(self.base)
        if self.arms:
            return {arm: (base, change) for arm, change in self.arms.items()}
        drawn = [dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())]
        named = {", ".join(f"{key} {_brief(value)}" for key, value in change.items()): change for change in drawn}
        return {arm: (base, change) for arm, change in named.items()}


class SweepFolder(_Compared):
    """Configurations of a directory, each an arm by its file's name."""

    folder: Path

    def changes(self) -> dict[str, tuple[Path, dict[str, Any]]]:
        """Return by each arm's name its configuration, and that it changes nothing."""
        files = sorted(file for file in self.folder.glob("*.yaml") if file.name != SETTINGS)
        if not files:
            raise UserError(f"{self.folder}: holds no configuration, that is no .yaml file besides {SETTINGS}")
        if strange := sorted(set(self.reported) - {file.stem for file in files}):
            raise UserError(*(f"{self.located(('reported', arm))}: there is no {arm}.yaml" for arm in strange))
        return {file.stem: (file, {}) for file in files}


Sweep = SweepFile | SweepFolder


def find_sweep(path: Path) -> Path:
    """Return a sweep's file or directory: as named, or the bundled one of that name, such as configs/history."""
    bundled = configs_dir() / path.name
    return bundled if not path.exists() and path.parent.name == "configs" and bundled.is_dir() else path


def read_sweep(path: Path) -> Sweep:
    """Read a sweep's file, or a directory's; UserError with every fault."""
    file = path / SETTINGS if path.is_dir() else path
    if path.is_dir() and not file.is_file():
        raise UserError(f"{path}: has no {SETTINGS}, which says what its configurations are measured on: measure: "
                        "[{data: everyday}]")  # fmt: skip
    read = read_yaml_text(read_text(file), str(file))
    if not isinstance(read.content, dict):
        raise UserError(f"{file}: is no sweep: keys such as base, arms and measure, with their values")
    model, given = (SweepFolder, {"folder": path}) if path.is_dir() else (SweepFile, {})
    try:
        sweep = model.model_validate({**read.content, **given})
    except ValidationError as error:
        wrong = faults_of(error, str(file), read, lambda fault: _explain(fault, model))
        raise UserError(*read.faults(str(file)), *wrong) from None
    if read.twins:
        raise UserError(*read.faults(str(file)))
    sweep._file, sweep._read = str(file), read
    return sweep


def _explain(fault: Any, model: type[BaseModel]) -> str:
    """Return a fault in words; of a key that there is not, which was meant."""
    if fault["type"] != "extra_forbidden":
        return in_words(fault)
    *sections, key = fault["loc"]
    return near_key(str(key), list(Measure.model_fields if sections else model.model_fields))


def _brief(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).strip().removesuffix("...").strip()
