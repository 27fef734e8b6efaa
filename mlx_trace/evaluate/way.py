"""How a model is asked when it is measured. Loads no network, so that what cannot be asked is said before one is."""

from dataclasses import dataclass
from typing import Any

from mlx_trace.config_decoding import Decoding
from mlx_trace.decode.params import SamplingParams


@dataclass(frozen=True, slots=True)
class ReplyWay:
    """One way to ask: how replies are sampled and held, and for how many turns those that fail are given back."""

    params: SamplingParams
    decoding: Decoding
    repair: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return how replies are held, sampled and repaired."""
        params, repair = self.params, {"repair": self.repair} if self.repair else {}
        sampling = {"samples": params.n, "temperature": params.temperature, "seed": params.seed}
        return {**self.decoding.model_dump(), **(sampling if params.temperature else {}), **repair}
