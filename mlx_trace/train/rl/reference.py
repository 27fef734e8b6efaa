"""The adapter as reinforcement found it, from which the divergence is measured: no second model, only its weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
from mlx.utils import tree_unflatten

from mlx_trace.model.adapter import adapter_weights
from mlx_trace.train.checkpoint import Arrays


class Reference:
    """The trained weights of a network, held as they were at a time."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.weights: Arrays = {}

    def hold(self) -> None:
        """Keep the weights as they are now, unless some are kept already."""
        if not self.weights:
            self.weights = {name: mx.array(value) for name, value in adapter_weights(self.network)}

    def take_up(self, weights: Mapping[str, mx.array]) -> None:
        """Take what an earlier process held."""
        self.weights = dict(weights)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Have the network compute with what is held, and with its own weights afterwards."""
        trained = dict(adapter_weights(self.network))
        self.network.update(tree_unflatten(list(self.weights.items())))
        try:
            yield
        finally:
            self.network.update(tree_unflatten(list(trained.items())))
