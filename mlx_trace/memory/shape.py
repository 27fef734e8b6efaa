"""What of a network decides how much memory it takes: its dimensions, its weights, and what of it is trained.

Takes a model's config.json and a run's configuration, and the loaded network where there is one. Imports no MLX.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from mlx_trace.config import Config
from mlx_trace.model.config_json import check_figures
from mlx_trace.model.precision import BYTES, computed_type, stored_type

FLOAT: Final = 4  # bytes of a number in fp32


@dataclass(frozen=True, slots=True)
class Shape:
    """A network's dimensions, and how its top layers are trained. Sizes are in bytes, the rest are counts."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    item: int  # of an activation
    weights: int  # of the base
    is_quantised: bool
    trained_layers: int
    trained_each: int  # numbers trained in each of them
    trained_item: int  # of such a number
    rank: int  # of what is added; 0 where nothing is
    fine_tune_type: str
    recompute: bool  # activations, layer by layer, in the backward pass

    @property
    def queries(self) -> int:
        """Return the width of all queries."""
        return self.heads * self.head_dim

    @property
    def keys(self) -> int:
        """Return the width of all keys, which is that of all values."""
        return self.kv_heads * self.head_dim

    @property
    def widths(self) -> dict[str, tuple[int, int]]:
        """Return the widths before and after each linear part of a layer."""
        return {
            "q_proj": (self.hidden, self.queries), "k_proj": (self.hidden, self.keys),
            "v_proj": (self.hidden, self.keys), "o_proj": (self.queries, self.hidden),
            "gate_proj": (self.hidden, self.intermediate), "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }  # fmt: skip

    @property
    def layer_numbers(self) -> int:
        """Return how many numbers a layer's linear parts hold."""
        return sum(before * after for before, after in self.widths.values())

    @property
    def trained(self) -> int:
        """Return the size of all that is trained."""
        return self.trained_layers * self.trained_each * self.trained_item

    @property
    def added(self) -> int:
        """Return the size of what training adds to the base."""
        return self.trained if self.rank else 0

    @property
    def has_frozen_layers(self) -> bool:
        """Tell whether there are layers that are not trained."""
        return self.trained_layers < self.layers

    def quantised(self, bits: int = 4, group_size: int = 64) -> "Shape":
        """Return the same network with a base of so many bits a number, with a scale and a bias for every group."""
        stored = bits / 8 + 2 * self.item / group_size
        return replace(self, weights=int(self.weights / self.item * stored), is_quantised=True)

    def adapted(self, rank: int) -> "Shape":
        """Return the same network with LoRA of a rank instead of whole weights that are trained."""
        each = rank * sum(before + after for before, after in self.widths.values())
        return replace(self, fine_tune_type="lora", rank=rank, trained_item=FLOAT, trained_each=each)


def shape_of(content: Mapping[str, Any], config: Config, on_cpu: bool = False, dequantised: bool = False) -> Shape:
    """Return the shape of a model, given its config.json, that is trained as a run's configuration says.

    Sizes are those of the type that it is computed in, on a CPU or a GPU.
    """
    check_figures(content, f"{config.model}: config.json")
    wanted = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size")
    layers, hidden, intermediate, heads, vocabulary = (int(content[key]) for key in wanted)
    item = BYTES[computed_type(stored_type(content), config.dtype, on_cpu, dequantised)]
    is_full, rank = config.fine_tune_type == "full", config.lora_parameters.rank
    bare = Shape(
        layers, hidden, intermediate, heads, int(content.get("num_key_value_heads") or heads),
        int(content.get("head_dim") or hidden // heads), vocabulary, item, weights=0, is_quantised=False,
        trained_layers=min(config.num_layers, layers) if config.num_layers > 0 else layers, trained_each=0,
        trained_item=item if is_full else FLOAT, rank=0 if is_full else rank, fine_tune_type=config.fine_tune_type,
        recompute=config.grad_checkpoint,
    )  # fmt: skip
    matrices = 1 if content.get("tie_word_embeddings", True) else 2
    numbers = layers * bare.layer_numbers + matrices * vocabulary * hidden
    trained = bare.layer_numbers + 2 * hidden if is_full else _added(bare, config)
    known = replace(bare, weights=numbers * item, trained_each=trained)
    quantisation = content.get("quantization")
    if not isinstance(quantisation, Mapping):
        return known
    return known.quantised(int(quantisation.get("bits", 4)), int(quantisation.get("group_size", 64)))


def _added(shape: Shape, config: Config) -> int:
    """Return how many numbers LoRA or DoRA add to a layer."""
    keys = config.lora_parameters.keys
    chosen = {key.rpartition(".")[2] for key in keys} if keys else set(shape.widths)
    magnitudes = config.fine_tune_type == "dora"
    return sum(config.lora_parameters.rank * (before + after) + magnitudes * after
               for name, (before, after) in shape.widths.items() if name in chosen)  # fmt: skip
