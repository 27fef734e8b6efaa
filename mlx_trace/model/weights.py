"""A network's weights: cast to what is computed in, and back to what is written.

Takes networks whose weights mlx-lm has not read yet, so that two copies of all are never there at once.
"""

from collections import Counter
from collections.abc import Callable, Mapping

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_map_with_path

from mlx_trace.config import Dtype
from mlx_trace.model.precision import computed_type, reason, written_type


def settle_types(
    network: nn.Module, dequantised: bool, asked: Dtype, say: Callable[[str], None]
) -> dict[str, mx.Dtype]:
    """Read a lazy network's weights in the type that it is computed in; return the type that each is written in."""
    stored = {name: value.dtype for name, value in tree_flatten(network.parameters())
              if mx.issubdtype(value.dtype, mx.floating)}  # fmt: skip
    on_cpu = mx.default_device().type == mx.cpu
    kinds = {kind: type_name(kind) for kind in set(stored.values())}
    computed = {kind: computed_type(name, asked, on_cpu, dequantised) for kind, name in kinds.items()}
    network.apply(lambda value: value.astype(getattr(mx, computed[value.dtype])) if value.dtype in computed else value)
    for layer in (*network.layers, network):  # one after another: both types of all weights are never there at once
        mx.eval(layer.parameters())
    most = Counter(stored.values()).most_common(1)[0][0]
    if line := reason(kinds[most], computed[most], asked, on_cpu):
        say(line)
    return {name: getattr(mx, written_type(kinds[kind], computed[kind])) for name, kind in stored.items()}


def as_written(network: nn.Module, written: Mapping[str, mx.Dtype]) -> nn.Module:
    """Return a network with its weights in the types that they are written in; what has none is as the last norm is."""
    usual = written.get("model.norm.weight")

    def restore(name: str, value: mx.array) -> mx.array:
        kind = written.get(name, usual)
        return value.astype(kind) if kind is not None and mx.issubdtype(value.dtype, mx.floating) else value

    network.update(tree_map_with_path(restore, network.parameters()))
    return network


def type_name(kind: mx.Dtype) -> str:
    """Return a type's name, such as float32."""
    return str(kind).removeprefix("mlx.core.")
