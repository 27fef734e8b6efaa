"""How the bundled tiny base was made, and makes it again: tokenizer, first weights, training, measurement.

Takes a seed and a number of tokens; writes a model directory like any other. It reads word problems and restates
their quantities (`tiny_text`), and never sees a trace. Recipe and figures: eval/tiny-base.md.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm.models.llama import Model, ModelArgs
from tokenizers import Tokenizer

from mlx_trace.blas import suit_threads
from mlx_trace.config import SYSTEM_PROMPT
from mlx_trace.language.mentions import find_numbers
from mlx_trace.language.numbers import spell
from mlx_trace.model.head import head, hidden_states
from mlx_trace.problems.synthetic.schema import load_schemas
from mlx_trace.seeds import derive_seed
from mlx_trace.tiny.first_weights import initial_weights
from mlx_trace.tiny.text import Document, TinyText
from mlx_trace.tiny.tokenizer import ASSISTANT, END, PAD, SPECIAL, SYSTEM, USER, build_tokenizer, write_tokenizer
from mlx_trace.train.schedule import learning_rate

_PAD_TO: Final = 16  # sequence lengths and target counts are padded to multiples of these, so that few shapes occur
_TARGETS_TO: Final = 256


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what the base becomes."""

    seed: int = 0
    tokens: int = 14_000_000
    vocab_size: int = 4608
    hidden_size: int = 192
    num_layers: int = 4
    num_heads: int = 4
    head_dim: int = 64
    intermediate_size: int = 512
    learning_rate: float = 2e-3
    batch_tokens: int = 4096
    drills_only: float = 0.9  # copying accuracy up to which there is nothing but drills
    drill_share: float = 0.15  # share of drills from then on
    prompt_weight: float = 0.15  # of a prompt's tokens in the loss; a reply's count 1
    prompt_share: float = 0.3  # of a prompt's tokens that are learnt from at all
    system_share: float = 0.5  # of documents with the system prompt before them


@dataclass(frozen=True, slots=True)
class Batch:
    """ids (B, T), right-padded; the flat positions (K,) whose next token is a target, those tokens, their weights."""

    ids: mx.array
    positions: mx.array
    targets: mx.array
    weights: mx.array
    num_targets: int


def round_up(number: int, multiple: int) -> int:
    """Return the next multiple from `number` on."""
    return -(-number // multiple) * multiple


# --- batches ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """A sequence, and the weight of each of its tokens in the loss."""

    ids: list[int]
    weights: list[float]


class Reader:
    """Draws the rows that the base learns from: row n depends only on the recipe and n."""

    def __init__(self, text: TinyText, tokenizer: Tokenizer, recipe: Recipe, questions: Sequence[str] = ()) -> None:
        self.text, self.tokenizer, self.recipe, self.questions = text, tokenizer, recipe, questions
        self.system = [SYSTEM, *self._encode(SYSTEM_PROMPT), END]

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def row(self, index: int, drill_share: float) -> _Row:
        """Return row `index`: a copying drill or a document."""
        rng = np.random.default_rng(derive_seed("tiny row", self.recipe.seed, index))
        return self._drill(rng) if rng.random() < drill_share else self._document(rng, index)

    def _document(self, rng: np.random.Generator, index: int) -> _Row:
        document = self.text.document(self.recipe.seed, index)
        if self.questions and rng.random() < 0.1:
            question = self.questions[int(rng.integers(len(self.questions)))]
            numbers = ", ".join(spell(mention.value) for mention in find_numbers(question))
            document = Document(question[:600], f"The numbers are {numbers}.")
        system = self.system if rng.random() < self.recipe.system_share else []
        prompt = [*system, USER, *self._encode(document.prompt), END, ASSISTANT]
        learnt = [self.recipe.prompt_weight if rng.random() < self.recipe.prompt_share else 0.0 for _ in prompt]
        reply = [*self._encode(document.reply), END]
        return _Row(prompt + reply, learnt + [1.0] * len(reply))

    def _drill(self, rng: np.random.Generator) -> _Row:
        """Draw a sequence of random tokens to repeat, or pairs of them to recall, over the whole vocabulary."""
        low, high = len(SPECIAL), self.tokenizer.get_vocab_size()
        length = int(rng.integers(24, 120))
        if rng.random() < 0.5:
            said = rng.integers(low, high, int(rng.integers(4, length // 2))).tolist()
            return _Row([USER, *said, END, ASSISTANT, *said, END], [0.0] * (len(said) + 3) + [1.0] * (len(said) + 1))
        count = int(rng.integers(3, length // 3))
        keys = (rng.choice(high - low, count, replace=False) + low).tolist()
        values = rng.integers(low, high, count).tolist()
        told = [token for pair in zip(keys, values, strict=True) for token in pair]
        asked = rng.permutation(count)[: max(3, count // 2)].tolist()
        recalled = [token for index in asked for token in (keys[index], values[index])]
        return _Row([USER, *told, END, ASSISTANT, *recalled], [0.0] * (len(told) + 3) + [0.0, 1.0] * len(asked))


def _batches(rows: list[_Row], batch_tokens: int, rng: np.random.Generator) -> list[Batch]:
    """Group rows of like length into batches of about `batch_tokens`, in random order."""
    rows = sorted(rows, key=lambda row: len(row.ids))
    groups: list[list[_Row]] = []
    for row in rows:
        if not groups or (len(groups[-1]) + 1) * round_up(len(row.ids), _PAD_TO) > batch_tokens:
            groups.append([])
        groups[-1].append(row)
    return [_lay_out(groups[index]) for index in rng.permutation(len(groups))]


def _lay_out(rows: list[_Row]) -> Batch:
    length = round_up(max(len(row.ids) for row in rows), _PAD_TO)
    ids = np.zeros((len(rows), length + 1), dtype=np.int32)
    weights = np.zeros((len(rows), length + 1), dtype=np.float32)
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = row.ids
        weights[index, : len(row.ids)] = row.weights
    chosen = np.flatnonzero(weights[:, 1:])
    count = round_up(len(chosen), _TARGETS_TO)
    positions = np.zeros(count, dtype=np.int32)
    positions[: len(chosen)] = chosen
    kept = np.zeros(count, dtype=np.float32)
    kept[: len(chosen)] = weights[:, 1:].reshape(-1)[chosen]
    targets = ids[:, 1:].reshape(-1)[positions]
    return Batch(mx.array(ids[:, :-1]), mx.array(positions), mx.array(targets), mx.array(kept), len(chosen))


# --- training --------------------------------------------------------------------------------------------------


def _loss(network: Any, batch: Batch) -> tuple[mx.array, mx.array]:
    """Return the weighted mean cross-entropy, and the share of reply tokens that are predicted right."""
    hidden = hidden_states(network, batch.ids)
    logits = head(network, hidden.reshape(-1, hidden.shape[-1])[batch.positions])
    losses = nn.losses.cross_entropy(logits, batch.targets)
    reply = batch.weights == 1
    right = (logits.argmax(-1) == batch.targets) & reply
    return (losses * batch.weights).sum() / batch.weights.sum(), right.sum() / reply.sum()


@dataclass(slots=True)
class Progress:
    """How far training is: tokens read, and the running loss and accuracy on reply tokens."""

    tokens: int = 0
    updates: int = 0
    loss: float = 0.0
    accuracy: float = 0.0
    drills_until: int | None = None  # tokens after which drills were no longer all there was
    began: float = field(default_factory=time.perf_counter)

    def note(self, loss: float, accuracy: float, tokens: int) -> None:
        """Take in one update."""
        keep = 0.98 if self.updates else 0.0
        self.loss = keep * self.loss + (1 - keep) * loss
        self.accuracy = keep * self.accuracy + (1 - keep) * accuracy
        self.tokens, self.updates = self.tokens + tokens, self.updates + 1


def rebuild(
    folder: Path, recipe: Recipe, questions: Sequence[str] = (), report: Callable[[Progress], None] = lambda _: None
) -> Progress:
    """Make a tiny base and write it to `folder`, every million tokens and at the end; return how it went.

    `questions` are further word problems to read, such as GSM-8K's training questions.
    """
    text = TinyText(list(load_schemas().values()))
    tokenizer = build_tokenizer(text, recipe.vocab_size, recipe.seed)
    args = model_args(recipe, tokenizer.get_vocab_size())
    network = make_network(args, recipe.seed)
    reader = Reader(text, tokenizer, recipe, questions)
    optimizer = optim.AdamW(recipe.learning_rate, betas=[0.9, 0.95], weight_decay=0.01)
    progress, saved = Progress(), 0
    write_base(folder, network, tokenizer, args)
    for batch in _stream(reader, recipe, progress):
        optimizer.learning_rate = _rate(recipe, progress)
        loss, accuracy = _update(network, optimizer, batch)
        progress.note(loss, accuracy, int(batch.ids.size))
        if progress.drills_until is None and progress.updates > 50 and progress.accuracy > recipe.drills_only:
            progress.drills_until = progress.tokens
        if progress.tokens - saved >= 1_000_000:
            saved = progress.tokens
            write_base(folder, network, tokenizer, args)
        report(progress)
    write_base(folder, network, tokenizer, args)
    return progress


def _stream(reader: Reader, recipe: Recipe, progress: Progress) -> Iterator[Batch]:
    """Yield batches until the recipe's tokens are read."""
    index, pool = 0, 1600
    while True:
        drills = progress.drills_until is None
        share = 1.0 if drills else recipe.drill_share
        rows = [reader.row(n, share) for n in range(index, index + pool)]
        index += pool
        for batch in _batches(rows, recipe.batch_tokens, np.random.default_rng(derive_seed("pool", index))):
            if progress.tokens >= recipe.tokens:
                return
            yield batch
            if drills and progress.drills_until is not None:
                break


def _rate(recipe: Recipe, progress: Progress) -> float:
    """Warm up over 100 updates, hold for 30% of the tokens, then fall linearly to a tenth."""
    if progress.updates < 100:
        return learning_rate(progress.updates, 100, recipe.learning_rate, 100, "none")
    falling = max(0, progress.tokens - int(0.3 * recipe.tokens))
    return learning_rate(falling, int(0.7 * recipe.tokens), recipe.learning_rate, 0, "linear")


def _update(network: Any, optimizer: optim.Optimizer, batch: Batch) -> tuple[float, float]:
    (loss, accuracy), gradients = nn.value_and_grad(network, _loss)(network, batch)
    gradients, _ = optim.clip_grad_norm(gradients, 1.0)
    optimizer.update(network, gradients)
    mx.eval(loss, accuracy, network.parameters(), optimizer.state)
    return loss.item(), accuracy.item()


# --- the model directory ---------------------------------------------------------------------------------------


def model_args(recipe: Recipe, vocab_size: int) -> ModelArgs:
    """Return mlx-lm's description of the network."""
    return ModelArgs(
        model_type="llama", hidden_size=recipe.hidden_size, num_hidden_layers=recipe.num_layers,
        intermediate_size=recipe.intermediate_size, num_attention_heads=recipe.num_heads, head_dim=recipe.head_dim,
        num_key_value_heads=recipe.num_heads, rms_norm_eps=1e-5, vocab_size=vocab_size, rope_theta=100_000.0,
        tie_word_embeddings=True, max_position_embeddings=1024,
    )  # fmt: skip


def make_network(args: ModelArgs, seed: int) -> Any:
    """Return a new network with copying laid out in its first weights."""
    suit_threads(args.hidden_size)
    network = Model(args)
    shapes = {name: tuple(value.shape) for name, value in tree_flatten(network.parameters())}
    weights = initial_weights(shapes, args, derive_seed("tiny weights", seed))
    network.load_weights([(name, mx.array(value)) for name, value in weights.items()])
    return network


def write_base(folder: Path, network: Any, tokenizer: Tokenizer, args: ModelArgs) -> None:
    """Write config.json, model.safetensors and the tokenizer, as any Llama model directory has them."""
    folder.mkdir(parents=True, exist_ok=True)
    described = {name: value for name, value in vars(args).items() if value is not None and name != "layer_types"}
    described |= {"architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "torch_dtype": "float32",
                  "eos_token_id": END, "pad_token_id": PAD}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    temporary = folder / ".model.tmp.safetensors"
    mx.save_safetensors(str(temporary), dict(tree_flatten(network.parameters())), metadata={"format": "mlx"})
    temporary.replace(folder / "model.safetensors")
    write_tokenizer(folder, tokenizer)
