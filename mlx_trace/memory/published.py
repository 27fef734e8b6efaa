"""What is known of models that are not here: their config.json's figures, and how long a run's sequences are for them.

Data alone: what the bundled configurations train, so that their memory is planned before anything is downloaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mlx_trace.config import Config
from mlx_trace.memory.predict import ExampleLengths, Rollouts, Work
from mlx_trace.model.named import same_model


@dataclass(frozen=True)
class Published:
    """A model as its config.json on the hub has it, and its bundled configuration's longest sequences in its tokens."""

    title: str
    configuration: str
    hub: str
    content: Mapping[str, Any]
    prompt: int
    prefix: int
    example: int
    target: int

    def work(self, config: Config) -> Work:
        """Return what a run with a configuration does on data like the bundled configurations'."""
        rl = config.reinforce
        examples = ExampleLengths(self.example, self.prefix, self.target, config.batch_size)
        rollouts = Rollouts(self.prompt, self.prefix, rl.max_tokens, rl.batch_size, rl.group_size,
                            has_reference=rl.kl > 0)  # fmt: skip
        return Work(examples, rollouts if rl.iters else None)


def _llama(layers: int, hidden: int, inner: int, heads: int, kv_heads: int, head_dim: int, vocabulary: int,
           tied: bool = True) -> dict[str, Any]:  # fmt: skip
    return {
        "num_hidden_layers": layers, "hidden_size": hidden, "intermediate_size": inner, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "head_dim": head_dim, "vocab_size": vocabulary, "tie_word_embeddings": tied,
        "torch_dtype": "bfloat16",
    }  # fmt: skip


PUBLISHED: Final = (
    Published("SmolLM2 135M", "smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct",
              _llama(30, 576, 1536, 9, 3, 64, 49152), prompt=125, prefix=34, example=386, target=292),
    Published("Qwen2.5-Coder 0.5B", "qwen25-coder-0.5b", "Qwen/Qwen2.5-Coder-0.5B-Instruct",
              _llama(24, 896, 4864, 14, 2, 64, 151936), prompt=121, prefix=32, example=370, target=278),
    Published("Qwen3 0.6B", "qwen3-0.6b", "Qwen/Qwen3-0.6B",
              _llama(28, 1024, 3072, 16, 8, 128, 151936), prompt=125, prefix=32, example=374, target=278),
    Published("SmolLM2 1.7B", "smollm2", "HuggingFaceTB/SmolLM2-1.7B-Instruct",
              _llama(24, 2048, 8192, 32, 32, 64, 49152), prompt=125, prefix=34, example=386, target=292),
    Published("TinyLlama 1.1B", "tinyllama", "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
              _llama(22, 2048, 5632, 32, 4, 64, 32000, tied=False), prompt=138, prefix=41, example=420, target=309),
    Published("Llama 3.2 1B", "llama32-1b", "meta-llama/Llama-3.2-1B-Instruct",
              _llama(16, 2048, 8192, 32, 8, 64, 128256), prompt=134, prefix=54, example=389, target=274),
    Published("Llama 3.2 3B", "llama32-3b", "meta-llama/Llama-3.2-3B-Instruct",
              _llama(28, 3072, 8192, 24, 8, 128, 128256), prompt=134, prefix=54, example=389, target=274),
)  # fmt: skip


def published(name: str) -> Published | None:
    """Return what is published of a model, by our name for it or the hub's; None if nothing is known."""
    return next((model for model in PUBLISHED if same_model(model.hub, name)), None)
