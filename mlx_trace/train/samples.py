"""The samples of reinforcement on disk, a line each: what was asked, what came, how it was judged, what it taught.

Takes rows as rollouts make them; returns them as they are read again. Knows nothing of networks.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlx_trace.files import lenient_lines
from mlx_trace.language.grade import GradeKind

_MB: Final = 1_000_000


class SavedSample(BaseModel):
    """One reply to a prompt. `group` is the prompt's place in the rollout, and `sample` the reply's in the group.

    `logprob` is the reply's when it was sampled; `logprob_gap` the largest by which a token's was another when it was
    learnt from, None where nothing was learnt from it. `sampled` of its `tokens` were sampled, the others followed.
    """

    model_config = ConfigDict(frozen=True)

    update: int = Field(ge=1)
    group: int = Field(ge=0)
    sample: int = Field(ge=0)
    id: str
    question: str
    answer: str | None
    reply: str
    grade: GradeKind
    got: str | None
    detail: str
    reward: float
    advantage: float
    logprob: float
    logprob_gap: float | None
    tokens: int = Field(ge=0)
    sampled: int = Field(ge=0)
    truncated: bool


def is_due(index: int, updates: int, every: int) -> bool:
    """Tell whether the samples of an update, counted from 0, are saved: the first, every so many, and the last."""
    return every > 0 and (index % every == 0 or index + 1 == updates)


def room(size: int, megabytes: float, index: int, updates: int, every: int) -> int:
    """Return the bytes that a file of so many may grow by in an update: what is left is shared out among the others."""
    last = updates - 1
    left = last // every - (index - 1) // every + (last % every > 0)
    return max(0, int(megabytes * _MB) - size) // left


def lines_of(samples: Sequence[SavedSample], most: int) -> str:
    """Return samples as lines, of whole groups, in order, as many as fit into so many bytes."""
    text = ""
    for _, group in groupby(samples, key=lambda sample: sample.group):
        own = "".join(json.dumps(sample.model_dump()) + "\n" for sample in group)  # all ASCII
        if len(text) + len(own) > most:
            break
        text += own
    return text


def read_samples(path: Path, broken: list[int] | None = None) -> Iterator[SavedSample]:
    """Yield the samples of a file, in order; the numbers of lines that hold none are added to `broken`."""
    for number, line in lenient_lines(path):
        try:
            yield SavedSample.model_validate_json(line or "")
        except ValidationError:
            if broken is not None:
                broken.append(number)
