"""What was settled when a run was started, as its folder keeps it: a resumed run repeats it, on the same data."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from mlx_trace.errors import UserError
from mlx_trace.files import read_json, write_atomically
from mlx_trace.memory.predict import MemoryPlan
from mlx_trace.notice import tell
from mlx_trace.setting import setting
from mlx_trace.train.checkpoint import checked
from mlx_trace.train.run_dir import PLAN_FILE


class _SavedPlan(BaseModel):
    """A plan as a run has kept it; earlier versions had other names for two keys."""

    model_config = ConfigDict(strict=True)

    micro_tokens: int = Field(ge=1)
    max_sequences: int = Field(ge=1, validation_alias=AliasChoices("max_sequences", "width"))
    activation_cache: Literal["memory", "disk", "off"] = Field(
        validation_alias=AliasChoices("activation_cache", "trunk_cache")
    )
    headroom: int | None = Field(None, ge=1)
    data: str | None = None  # the digest of what is trained on


def read_plan(run: Path) -> tuple[MemoryPlan | None, str | None]:
    """Return what was settled when a run was started, and the digest of its data; None where it is not known."""
    file = run / PLAN_FILE
    if not file.exists():
        return None, None
    saved = checked(_SavedPlan, read_json(file), file)
    return MemoryPlan(**saved.model_dump(exclude={"data"})), saved.data


def write_plan(run: Path, memory: MemoryPlan, digest: str) -> None:
    """Keep what is settled, and the digest of the data, in a run's folder."""
    write_atomically(run / PLAN_FILE, [json.dumps(asdict(memory) | {"data": digest}) + "\n"])


def check_same_data(run: Path, saved: str | None, digest: str) -> None:
    """Refuse to go on with other data than a run was started on: its order and its best loss are of those."""
    if saved is None:
        tell(f"{run}: was begun by a version that did not note its data; if they are other ones now, nobody can tell")
    elif saved != digest:
        start = f"{setting('resume_adapter_file')} goes on from its adapter in a new run"
        raise UserError(f"{run}: its data are not those that it was started on: a file has changed, or what its "
                        f"config.yaml says (data, seed), or the families of mlx-trace; {start}")  # fmt: skip
