"""The tiny base is a base: it reads problems, never a trace, and never what evaluation will ask."""

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from mlx_trace.evaluate.suites import suite
from mlx_trace.language.mentions import find_numbers
from mlx_trace.language.numbers import spell
from mlx_trace.language.syntax import NoTrace, parse
from mlx_trace.model.base import load_base
from mlx_trace.problems.synthetic.generator import is_held_out
from mlx_trace.problems.synthetic.schema import load_schemas
from mlx_trace.resources import tiny_dir
from mlx_trace.tiny import pretrain as tiny_base
from mlx_trace.tiny.pretrain import Progress, Reader, Recipe, make_network, model_args
from mlx_trace.tiny.text import TinyText, documents
from mlx_trace.tiny.tokenizer import build_tokenizer

import mlx.core as mx  # isort: skip
from mlx.utils import tree_flatten
from mlx_lm.models.llama import Model


@pytest.fixture(scope="module")
def text() -> TinyText:
    return TinyText(list(load_schemas().values()))


def test_no_document_is_or_holds_a_trace(text: TinyText) -> None:
    for document in islice(documents(text, seed=0), 3000):
        assert isinstance(parse(document.prompt), NoTrace)
        assert isinstance(parse(document.reply), NoTrace)
        assert "op: init" not in document.prompt + document.reply


def test_no_document_asks_what_an_evaluation_asks(text: TinyText) -> None:
    evaluated = {problem.question for name in ("synthetic", "phrasing") for problem in suite(name, 400)}
    read = [document.prompt for document in islice(documents(text, seed=0), 3000)]
    assert not evaluated & set(read)
    assert sum(is_held_out(prompt) for prompt in read if prompt.endswith("?")) == 0


def test_documents_restate_numbers_of_their_problems(text: TinyText) -> None:
    restated = total = 0
    for document in islice(documents(text, seed=1), 500):
        stated = {spell(value) for mention in find_numbers(document.prompt) for value in mention.readings}
        said = {spell(mention.value) for mention in find_numbers(document.reply) if mention.kind == "digits"}
        total += len(said)
        restated += len(said & stated)
    assert total > 500
    assert restated / total > 0.9


def test_a_document_depends_on_seed_and_index_alone(text: TinyText) -> None:
    assert text.document(3, 17) == text.document(3, 17)
    assert len({text.document(3, index).prompt for index in range(200)}) > 190


def test_numbers_are_one_token_wherever_they_stand() -> None:
    tokenizer = load_base("tiny").tokenizer
    for number in range(0, 1000, 7):
        (alone,) = tokenizer.encode(str(number), add_special_tokens=False)
        for around in (f"has {number} eggs", f"${number}.", f"value: {number}}}", f"[{number}, 5]"):
            assert alone in tokenizer.encode(around, add_special_tokens=False)
    assert (
        tokenizer.decode(tokenizer.encode("12,345 and ½ — naïve", add_special_tokens=False)) == "12,345 and ½ — naïve"
    )


def test_copying_is_laid_out_in_the_first_weights(text: TinyText) -> None:
    recipe = Recipe(vocab_size=1500)
    tokenizer = build_tokenizer(text, recipe.vocab_size, recipe.seed)
    args = model_args(recipe, tokenizer.get_vocab_size())
    reader = Reader(text, tokenizer, recipe)
    rng = np.random.default_rng(0)
    batch = tiny_base._lay_out([reader._drill(rng) for _ in range(24)])
    _, laid_out = tiny_base._loss(make_network(args, 0), batch)
    mx.random.seed(0)
    _, by_chance = tiny_base._loss(Model(args), batch)
    assert laid_out.item() > 10 * max(by_chance.item(), 1 / 1500)


def test_rebuild_writes_a_model_that_loads_and_is_the_same_again(tmp_path: Path) -> None:
    recipe = Recipe(tokens=6000, vocab_size=1500, hidden_size=96, num_layers=3, num_heads=3, head_dim=32, intermediate_size=64,
                    batch_tokens=2048)  # fmt: skip
    seen: list[int] = []

    def note(progress: Progress) -> None:
        seen.append(progress.updates)

    for name in ("one", "two"):
        tiny_base.rebuild(tmp_path / name, recipe, ["She has 48 clips."], note)
    assert seen[-1] >= 3
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two
    base = load_base(str(tmp_path / "one"))
    assert base.network(mx.array([[5, 6]])).shape == (1, 2, len(base.tokenizer.get_vocab()))


def test_the_bundled_base_is_as_small_as_it_says() -> None:
    base = load_base("tiny")
    count = sum(value.size for _, value in tree_flatten(base.network.parameters()))
    assert 2_000_000 <= count <= 4_000_000
    assert (tiny_dir() / "model.safetensors").stat().st_size <= 16 * 2**20
    assert all(value.dtype == mx.float32 for _, value in tree_flatten(base.network.parameters()))
    assert json.loads((tiny_dir() / "config.json").read_text(encoding="utf-8"))["model_type"] == "llama"
    assert base.tokenizer.chat_template
