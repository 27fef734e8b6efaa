"""What is known of models that are not here: their config.json's figures, and how long a run's sequences are for them.

Data alone, and what a configuration comes to with it: what is trained is planned before anything is downloaded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mlx_trace.config import Config
from mlx_trace.config_sources import Source
from mlx_trace.memory.duration import Load
from mlx_trace.memory.predict import ExampleLengths, Rollouts, Work
from mlx_trace.memory.recipe import recipe
from mlx_trace.model.named import same_model

_SOLVED: Final = 1.4  # how much longer the trace of a worked solution is than a family's, in the mean
_TOLD: Final = 1.55  # and its question


@dataclass(frozen=True, slots=True)
class TokenLengths:
    """Tokens of what the families give: the longest, what all begin with, and means.

    Qwen's means were counted, on 1,000 problems; those of others are in proportion to their longest.
    """

    prompt: int
    prefix: int
    example: int
    target: int
    mean_prompt: int  # with the prefix
    mean_target: int


_BY_FORM: Final = {"operation_first": 1.0, "name_first": 1.0, "commented": 1.4}  # of a target's length


@dataclass(frozen=True)
class Published:
    """A model as its config.json on the hub has it, and its bundled configuration's sequences in its tokens."""

    title: str
    configuration: str
    hub: str
    content: Mapping[str, Any]
    lengths: TokenLengths
    has_rows: bool = True  # in the table of what fits; other weights of the same shape have none

    def work(self, config: Config) -> Work:
        """Return what a run with a configuration does, on data like the bundled configurations'.

        Of files nothing is known but that no example is longer than `max_seq_length`.
        """
        rl, known, load = config.reinforce, self._told(config), self.load(config)
        seen, total = 0, 0
        if load is not None:
            seen, total = load.seen, int(load.examples * (load.prompt + load.target))
        examples = ExampleLengths(
            known.example, known.prefix, known.target, config.batch_size * config.grad_accumulation_steps, total,
            has_phase=config.has_sft, repeats=load is not None and seen > load.examples,
        )  # fmt: skip
        rollouts = Rollouts(known.prompt, known.prefix, rl.max_tokens, rl.batch_size, rl.group_size,
                            config.decoding.constraint == "scope", rl.kl > 0, rl.algorithm == "expert_iteration",
                            rl.sft_weight > 0)  # fmt: skip
        return Work(examples, rollouts if rl.iters else None)

    def load(self, config: Config) -> Load | None:
        """Return what it does in all; None where how much there is depends on files."""
        counts = [_count(source, config.examples) for source in config.data]
        known = [count for count in counts if count is not None]
        if len(known) < len(counts) or (config.examples is None and any(source.share for source in config.data)):
            return None
        examples, size = sum(known), config.batch_size * config.grad_accumulation_steps
        solved = sum(count for count, source in zip(known, config.data, strict=True) if source.source != "synthetic")
        share = solved / max(1, examples)
        updates = -(-examples // size) * config.epochs if config.iters is None else config.iters
        longer, wordier = 1 + share * (_SOLVED - 1), 1 + share * (_TOLD - 1)
        target = self.lengths.mean_target * _BY_FORM[config.prompt.trace_form] * longer
        seen = config.epochs * examples if config.iters is None else updates * size
        return Load(seen, examples, updates, config.reinforce.iters, config.reinforce.updates_per_batch,
                    (self.lengths.mean_prompt - self.lengths.prefix) * wordier, target)  # fmt: skip

    def recipe(self, config: Config) -> Iterator[str]:
        """Yield what a configuration comes to on Macs, in lines."""
        layers = min(config.num_layers, int(self.content["num_hidden_layers"]))
        fitted = config.model_copy(update={"num_layers": layers})
        return recipe(self.content, fitted, self.work(fitted), self.load(fitted))

    def _told(self, config: Config) -> TokenLengths:
        """Return the longest sequences that a configuration's data may have."""
        known, most = self.lengths, config.max_seq_length - 1
        if all(source.source == "synthetic" for source in config.data):
            longer = _BY_FORM[config.prompt.trace_form]
            target = round(known.target * longer)
            return TokenLengths(known.prompt, known.prefix, min(most, known.example + target - known.target), target,
                           known.mean_prompt, known.mean_target)  # fmt: skip
        prompt = max(known.prompt, min(most - known.target, config.max_seq_length - config.reinforce.max_tokens))
        return TokenLengths(prompt, known.prefix, most, most - known.mean_prompt, known.mean_prompt, known.mean_target)


def _count(source: Source, examples: int | None) -> int | None:
    """Return how many problems a source gives, as far as the configuration says."""
    if source.share is not None:
        return None if examples is None else round(source.share * examples)
    return source.n


def _llama(layers: int, hidden: int, inner: int, heads: int, kv_heads: int, head_dim: int, vocabulary: int,
           tied: bool = True) -> dict[str, Any]:  # fmt: skip
    return {
        "num_hidden_layers": layers, "hidden_size": hidden, "intermediate_size": inner, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "head_dim": head_dim, "vocab_size": vocabulary, "tie_word_embeddings": tied,
        "torch_dtype": "bfloat16",
    }  # fmt: skip


_SMOLLM2: Final = TokenLengths(125, 34, 386, 292, 77, 117)
_QWEN25: Final = TokenLengths(121, 32, 370, 278, 74, 111)
_QWEN3: Final = TokenLengths(125, 32, 374, 278, 76, 111)
_LLAMA2: Final = TokenLengths(138, 41, 420, 309, 87, 123)
_LLAMA3: Final = TokenLengths(134, 54, 389, 274, 92, 109)
_LLAMA_1B: Final = _llama(16, 2048, 8192, 32, 8, 64, 128256)
_LLAMA_3B: Final = _llama(28, 3072, 8192, 24, 8, 128, 128256)
_QWEN_05B: Final = _llama(24, 896, 4864, 14, 2, 64, 151936)
_FOUR_BITS: Final = {"quantization": {"bits": 4, "group_size": 64}}

PUBLISHED: Final = (
    Published("SmolLM2 135M", "smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct",
              _llama(30, 576, 1536, 9, 3, 64, 49152), _SMOLLM2),
    Published("SmolLM2 360M", "smollm2-360m", "HuggingFaceTB/SmolLM2-360M-Instruct",
              _llama(32, 960, 2560, 15, 5, 64, 49152), _SMOLLM2),
    Published("Qwen2.5-Coder 0.5B", "qwen25-coder-0.5b", "Qwen/Qwen2.5-Coder-0.5B-Instruct", _QWEN_05B, _QWEN25),
    Published("Qwen2.5 0.5B", "qwen25-0.5b", "Qwen/Qwen2.5-0.5B-Instruct", _QWEN_05B, _QWEN25, has_rows=False),
    Published("Qwen3 0.6B", "qwen3-0.6b", "Qwen/Qwen3-0.6B", _llama(28, 1024, 3072, 16, 8, 128, 151936), _QWEN3),
    Published("TinyLlama 1.1B", "tinyllama", "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
              _llama(22, 2048, 5632, 32, 4, 64, 32000, tied=False), _LLAMA2),
    Published("Llama 3.2 1B", "llama32-1b", "meta-llama/Llama-3.2-1B-Instruct", _LLAMA_1B, _LLAMA3),
    Published("Llama 3.2 1B, base", "llama32-1b-base", "meta-llama/Llama-3.2-1B", _LLAMA_1B, _LLAMA3, has_rows=False),
    Published("Llama 3.2 1B, 4-bit", "llama32-1b-4bit", "mlx-community/Llama-3.2-1B-Instruct-4bit",
              _LLAMA_1B | _FOUR_BITS, _LLAMA3, has_rows=False),
    Published("Qwen2.5 1.5B", "qwen25-1.5b", "Qwen/Qwen2.5-1.5B-Instruct",
              _llama(28, 1536, 8960, 12, 2, 128, 151936), _QWEN25),
    Published("SmolLM2 1.7B", "smollm2", "HuggingFaceTB/SmolLM2-1.7B-Instruct",
              _llama(24, 2048, 8192, 32, 32, 64, 49152), _SMOLLM2),
    Published("Qwen3 1.7B", "qwen3-1.7b", "Qwen/Qwen3-1.7B", _llama(28, 2048, 6144, 16, 8, 128, 151936), _QWEN3),
    Published("Llama 3.2 3B", "llama32-3b", "meta-llama/Llama-3.2-3B-Instruct", _LLAMA_3B, _LLAMA3),
    Published("Llama 3.2 3B, base", "llama32-3b-base", "meta-llama/Llama-3.2-3B", _LLAMA_3B, _LLAMA3, has_rows=False),
    Published("Llama 3.2 3B, 4-bit", "llama32-3b-4bit", "mlx-community/Llama-3.2-3B-Instruct-4bit",
              _LLAMA_3B | _FOUR_BITS, _LLAMA3, has_rows=False),
)  # fmt: skip


def published(name: str) -> Published | None:
    """Return what is published of a model, by our name for it or the hub's; None if nothing is known."""
    return next((model for model in PUBLISHED if same_model(model.hub, name)), None)


def like(name: str, content: Mapping[str, Any]) -> Published:
    """Return a model of which nothing but its config.json is known, with sequences as long as Llama's."""
    return Published(name, "", name, content, _LLAMA3)
