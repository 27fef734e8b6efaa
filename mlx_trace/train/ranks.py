"""The processes that train together, started by mlx.launch: each takes its share of the work, and all do the same step.

One process alone is rank 0 of 1. Knows nothing of models.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.nn.utils import average_gradients
from mlx.utils import tree_map

from mlx_trace.errors import UserError
from mlx_trace.setting import setting


class Ranks:
    """This process among all: `rank` of `size`. Every rank must call the same methods in the same order."""

    def __init__(self, group: Any = None) -> None:
        self.group = group
        self.rank: int = 0 if group is None else group.rank()
        self.size: int = 1 if group is None else group.size()

    @classmethod
    def found(cls) -> "Ranks":
        """Return the processes that mlx.launch started, or this one alone."""
        group = mx.distributed.init()
        return cls(group if group.size() > 1 else None)

    @property
    def is_first(self) -> bool:
        """Tell whether this is the rank that writes."""
        return self.rank == 0

    def sum(self, gradients: Any) -> Any:
        """Return the sum over all ranks of a tree of arrays."""
        if self.group is None:
            return gradients
        with _together():
            summed = tree_map(lambda gradient: gradient * self.size, average_gradients(gradients, self.group))
            mx.eval(summed)
        return summed

    def total(self, *numbers: float) -> list[float]:
        """Return the sum over all ranks of each number, in fp32."""
        if self.group is None:
            return list(numbers)
        return [float(number) for number in self._all_sum(mx.array(numbers, dtype=mx.float32)).tolist()]

    def any(self, flag: bool) -> bool:
        """Tell whether any rank says so."""
        return self.total(float(flag))[0] > 0

    def share(self, count: int) -> range:
        """Return which of `count` things are this rank's: every size-th, from its own number on."""
        return range(self.rank, count, self.size)

    def from_first(self, value: Any) -> Any:
        """Return what the first rank has, a value that JSON can say; the others' are ignored."""
        return self._from(value, 0)

    def gathered(self, values: list[Any]) -> list[Any]:
        """Return the lists of all ranks, one after the other; values that JSON can say."""
        return [value for rank in range(self.size) for value in self._from(values, rank)]

    def arrays_from_first(self, arrays: dict[str, mx.array]) -> dict[str, mx.array]:
        """Return the first rank's arrays; the others' are ignored."""
        if self.group is None:
            return arrays
        shapes = self.from_first([[name, list(array.shape), str(array.dtype).removeprefix("mlx.core.")]
                                  for name, array in arrays.items()])  # fmt: skip
        received = {}
        for name, shape, dtype in shapes:
            mine = arrays[name] if self.is_first else mx.zeros(shape, dtype=getattr(mx, dtype))
            received[name] = self._all_sum(mine)
        return received

    def _all_sum(self, mine: mx.array) -> mx.array:
        with _together():
            summed = mx.distributed.all_sum(mine, group=self.group)
            mx.eval(summed)
        return summed

    def _from(self, value: Any, rank: int) -> Any:
        if self.group is None:
            return value
        raw = json.dumps(value).encode() if self.rank == rank else b""
        length = int(self.total(len(raw))[0])
        mine = np.frombuffer(raw, dtype=np.uint8) if raw else np.zeros(length, dtype=np.uint8)
        whole = self._all_sum(mx.array(mine.astype(np.int32)))
        return json.loads(np.array(whole).astype(np.uint8).tobytes())


@contextmanager
def _together() -> Iterator[None]:
    """Say in a line that another process is gone, which MLX reports as a RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        raise UserError(f"another process of this run was lost ({error}); go on with "
                        f"{setting('resume', True)}") from error  # fmt: skip
