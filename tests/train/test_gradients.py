"""Each property of the two losses: what changes the gradient, what must not, and what equals what."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_trace.config import Config
from mlx_trace.decode.draw import Masks
from mlx_trace.decode.engine import Engine
from mlx_trace.decode.episode import Episode, Request
from mlx_trace.decode.vocabulary import Vocabulary
from mlx_trace.language.numbers import grounded_numbers
from mlx_trace.model.base import Base, attach_adapter, load_base, recompute_layers
from mlx_trace.train import reinforce, sft
from mlx_trace.train.sft import Example, make_batch, sft_loss, target_logprobs
from tests.conftest import byte_level_tokenizer, write_model

import mlx.core as mx  # isort: skip
import mlx.nn as nn
import mlx.optimizers as optim
from mlx.utils import tree_flatten

ROWS = [Example([5, 6, 7, 8], [9, 10, 2]), Example([11, 12], [13, 14, 15, 16, 17, 2]), Example([20], [21, 2])]
CONFIG = Config.model_validate({"num_layers": 2, "lora_parameters": {"rank": 4, "scale": 2.0}})


@pytest.fixture
def network(random_base: Base) -> Any:
    """A random network whose adapter has moved away from zero, so that all of its gradients count."""
    attach_adapter(random_base, CONFIG)
    mx.random.seed(1)
    moved = [(name, value + 0.05 * mx.random.normal(value.shape)) for name, value in
             tree_flatten(random_base.network.trainable_parameters())]  # fmt: skip
    random_base.network.load_weights(moved, strict=False)
    return random_base.network


def gradient(network: Any, loss: Any, *args: Any) -> np.ndarray:
    _, grads = nn.value_and_grad(network, loss)(network, *args)
    return np.concatenate([np.array(value).ravel() for _, value in tree_flatten(grads)])


def drawn(row: Example) -> Episode:
    """Return a row as an episode whose every token was drawn, from all tokens."""
    count = len(row.target)
    return Episode(0, row.prompt, row.target, [True] * count, [0.0] * count, [None] * count)


def sample(network: Any, prompts: list[list[int]], stop_ids: set[int], max_tokens: int, **how: Any) -> list[Episode]:
    return Engine(network, stop_ids).sample([Request(ids) for ids in prompts], max_tokens, **how)


def rl_gradient(
    network: Any, rows: list[Example], advantages: list[float], divisor: int, temperature: float = 1.0
) -> Any:
    pairs = [(drawn(row), advantage) for row, advantage in zip(rows, advantages, strict=True)]
    loss = lambda *args: reinforce._loss(*args)[0]  # noqa: E731
    return gradient(network, loss, *reinforce._arrays(pairs), divisor, temperature, Masks(None))


def close(one: np.ndarray, other: np.ndarray, tolerance: float = 1e-5) -> bool:
    return bool(np.abs(one - other).max() <= tolerance * max(1.0, float(np.abs(other).max())))


def test_the_loss_is_the_mean_over_target_tokens_alone(network: Any) -> None:
    total = count = 0.0
    for row in ROWS:
        logits = network(mx.array([row.prompt + row.target]))[0].astype(mx.float32)
        logprobs = np.array(logits - mx.logsumexp(logits, axis=-1, keepdims=True))
        for at, token in enumerate(row.target):
            total -= logprobs[len(row.prompt) + at - 1, token]
            count += 1
    assert sft_loss(network, make_batch(ROWS)).item() == pytest.approx(total / count, rel=1e-5)


def test_padding_and_company_change_nothing(network: Any) -> None:
    long = Example([5] * 60, [6] * 30)
    alone = target_logprobs(network, make_batch([ROWS[0]]))[:3]
    beside = target_logprobs(network, make_batch([ROWS[0], long]))[:3]
    assert np.abs(np.array(alone - beside)).max() < 1e-5


def test_the_gradient_of_a_batch_is_that_of_its_rows(network: Any) -> None:
    whole = gradient(network, sft_loss, make_batch(ROWS))
    counts = [len(row.target) for row in ROWS]
    parts = [gradient(network, sft_loss, make_batch([row])) * count for row, count in zip(ROWS, counts, strict=True)]
    assert close(sum(parts) / sum(counts), whole)


def test_reinforce_with_advantage_one_on_gold_is_sft(network: Any) -> None:
    divisor = sum(len(row.target) for row in ROWS)
    assert close(rl_gradient(network, ROWS, [1.0] * 3, divisor), gradient(network, sft_loss, make_batch(ROWS)))


def test_zero_advantage_gives_zero_gradient(network: Any) -> None:
    assert np.abs(rl_gradient(network, ROWS, [0.0] * 3, 11)).max() == 0


def test_advantages_weigh_their_own_samples(network: Any) -> None:
    first = rl_gradient(network, ROWS[:1], [1.0], 11)
    second = rl_gradient(network, ROWS[1:2], [1.0], 11)
    assert close(rl_gradient(network, ROWS[:2], [0.7, -0.3], 11), 0.7 * first - 0.3 * second)


def test_the_prompt_changes_the_gradient(network: Any) -> None:
    other = [Example([33, 34, 35, 36], ROWS[0].target)]
    assert not close(gradient(network, sft_loss, make_batch(other)), gradient(network, sft_loss, make_batch(ROWS[:1])))
    assert not close(rl_gradient(network, other, [1.0], 3), rl_gradient(network, ROWS[:1], [1.0], 3))


def test_a_nan_in_padding_reaches_nothing(network: Any) -> None:
    samples, advantages, before = reinforce._arrays([(drawn(row), 1.0) for row in ROWS])
    advantages[samples.batch.num_targets :] = float("nan")
    loss, gap = reinforce._loss(network, samples, advantages, before, 11, 1.0, Masks(None))
    assert np.isfinite(loss.item())
    assert np.isfinite(gap.item())


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.5])
def test_training_sees_the_log_probabilities_that_sampling_saw(network: Any, temperature: float) -> None:
    network.eval()
    episodes = sample(network, [[5, 6, 7], [9]], {2}, 20, num_samples=3, temperature=temperature, seed=4)
    pairs = [(episode, 1.0) for episode in episodes]
    _, gap = reinforce._loss(network, *reinforce._arrays(pairs), 1, temperature, Masks(None))
    assert gap.item() < 1e-4


@pytest.mark.parametrize("question", [None, "Tom has 3 bags of 12 eggs and sells half of them. How many are left?"])
@pytest.mark.parametrize("temperature", [0.7, 1.3])
def test_training_applies_the_masks_that_samples_were_drawn_with(
    random_base: Base, network: Any, question: str | None, temperature: float
) -> None:
    network.eval()
    engine = Engine(network, {2}, Vocabulary(random_base.tokenizer))
    numbers = None if question is None else grounded_numbers(question)
    episodes = engine.sample([Request([5, 6, 7], numbers), Request([9], numbers)], 200, 3, temperature, seed=4)
    pairs = [(episode, 1.0) for episode in episodes]
    _, gap = reinforce._loss(network, *reinforce._arrays(pairs), 1, temperature, engine.masks)
    assert gap.item() < 1e-4
    _, apart = reinforce._loss(network, *reinforce._arrays(pairs), 1, temperature * 2, engine.masks)
    assert apart.item() > 1e-2


def test_forced_tokens_have_no_gradient_and_no_weight(random_base: Base, network: Any) -> None:
    network.eval()
    (episode,) = Engine(network, {2}, Vocabulary(random_base.tokenizer)).sample([Request([5, 6])], 150, 1, 1.0)
    samples, advantages, before = reinforce._arrays([(episode, 1.0)])
    assert samples.batch.num_targets == len(episode.logprobs) == sum(episode.sampled) < len(episode.ids)
    assert float(advantages.sum().item()) == len(episode.logprobs)
    assert np.array(before[: len(episode.logprobs)]).sum() == pytest.approx(sum(episode.logprobs), rel=1e-5)


def test_micro_batches_hold_every_sample_once_and_never_too_many_tokens() -> None:
    lengths = [3, 50, 700, 2000, 2000, 4000, 9000]
    pairs = [(drawn(Example([1], [2] * (length - 1))), 1.0) for length in lengths]
    batches = reinforce._micro_batches(pairs)
    assert [pair for batch in batches for pair in batch] == pairs
    for batch in batches:
        longest = max(len(episode.ids) + 1 for episode, _ in batch)
        assert len(batch) == 1 or len(batch) * longest <= reinforce._MICRO_TOKENS


def test_recomputing_activations_changes_no_gradient_and_no_other_model(network: Any, random_model: Path) -> None:
    batch = make_batch(ROWS)
    kept = gradient(network, sft_loss, batch)
    recompute_layers(network)
    network.train()
    assert close(gradient(network, sft_loss, batch), kept, 1e-6)
    network.eval()
    sampled = sample(network, [[5, 6]], set(), 4)
    other = load_base(str(random_model)).network
    assert type(other.layers[0]) is not type(network.layers[0])
    assert len(sampled[0].ids) == 4


def test_a_half_precision_base_trains_its_adapter_in_full_precision(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", byte_level_tokenizer())
    weights = {name: value.astype(mx.bfloat16) for name, value in mx.load(str(folder / "model.safetensors")).items()}
    mx.save_safetensors(str(folder / "model.safetensors"), weights)
    base = load_base(str(folder))
    attach_adapter(base, CONFIG)
    batch = make_batch(ROWS)
    assert target_logprobs(base.network, batch).dtype == mx.float32
    before = sft_loss(base.network, batch).item()
    optimizer = optim.AdamW(1e-2)
    for _ in range(5):
        _, grads = nn.value_and_grad(base.network, sft_loss)(base.network, batch)
        sft.step(base, optimizer, grads, 1.0)
        mx.eval(base.network.parameters())
    assert sft_loss(base.network, batch).item() < before
    dtypes = {value.dtype for _, value in tree_flatten(base.network.trainable_parameters())}
    assert dtypes == {mx.float32}
    assert all(
        value.dtype == mx.bfloat16 for name, value in tree_flatten(base.network.parameters()) if "lora" not in name
    )
    episodes = sample(base.network, [[5, 6]], set(), 4, temperature=1.0)
    assert all(logprob <= 0 for logprob in episodes[0].logprobs)


def test_every_example_is_in_an_epoch_once_whatever_its_length() -> None:
    lengths = [7 * n % 83 + 3 for n in range(101)]
    for epoch in range(3):
        batches = sft.batch_order(lengths, 8, seed=5, epoch=epoch)
        assert sorted(at for batch in batches for at in batch) == list(range(101))
        assert max(map(len, batches)) == 8
    assert sft.batch_order(lengths, 8, 5, 0) == sft.batch_order(lengths, 8, 5, 0)
    assert sft.batch_order(lengths, 8, 5, 0) != sft.batch_order(lengths, 8, 5, 1)
    spread = [max(lengths[at] for at in batch) - min(lengths[at] for at in batch) for batch in batches]
    assert np.mean(spread) < 30, "batches hold examples of like length"


def test_a_curriculum_goes_from_few_steps_to_many_and_sees_every_example_once() -> None:
    rng = np.random.default_rng(0)
    lengths, steps = rng.integers(20, 300, 101).tolist(), rng.integers(2, 9, 101).tolist()
    batches = sft.batch_order(lengths, 8, seed=5, epoch=0, steps=steps)
    order = [at for batch in batches for at in batch]
    assert sorted(order) == list(range(101))
    assert [steps[at] for at in order] == sorted(steps)
    equals = [at for at in order if steps[at] == 4]
    assert equals != sorted(equals)  # shuffled among equals
