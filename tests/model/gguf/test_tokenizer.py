"""Tokenizers survive GGUF: the same ids as the reference on thousands of texts, and unknown kinds are refused."""

import json
import random
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from mlx_trace.model.gguf.describe import describe_tokenizer
from mlx_trace.model.gguf.header import Header
from mlx_trace.model.gguf.patterns import CUTS
from mlx_trace.model.gguf.pieces import merges_from_scores
from mlx_trace.model.gguf.tokenizer import read_vocabulary, tokenizer_config, tokenizer_json
from tests.model.gguf.models import TEXTS, byte_level
from tests.paths import SHARED

NUM_TEXTS = 2000
DEFAULT = "tokenizer.ggml.add_bos_token"
FAMILIES = {"smollm2": "smollm", "tinyllama": "default", "llama32": "llama-bpe"}


def reference(name: str) -> Path:
    folder = SHARED / "tokenizers" / name
    if not folder.is_dir():
        pytest.skip(f"shared/tokenizers/{name} is absent")
    return folder


def load(folder: Path) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(folder, clean_up_tokenization_spaces=False)


@lru_cache
def texts() -> list[str]:
    """Texts that people write and texts that nobody writes, 2,000 in all."""
    return [*TEXTS, *questions(), *noise()][:NUM_TEXTS]


def questions() -> Iterator[str]:
    file = SHARED / "data" / "gsm8k" / "train.jsonl"
    if not file.is_file():
        pytest.skip("shared/data/gsm8k/train.jsonl is absent")
    for line in file.read_text(encoding="utf-8").splitlines()[:1000]:
        yield json.loads(line)["question"]


def noise() -> Iterator[str]:
    rng = random.Random(5)
    parts = ["\n", "\n\n", " ", "  ", "   ", "\t", "0", "12", "345", "6789", "a", "The", "the", "I'm", "'s", "_", "-", "--", "...",
             "é", "ß", "Я", "中", "🙂", "{op: init", "var: x1", "}", "```yaml", "<|im_end|>", "</s>", "<s>", "\r\n", "$", "½", "²", "(", ")"]  # fmt: skip
    for _ in range(NUM_TEXTS // 2):
        yield "".join(rng.choice(parts) for _ in range(rng.randint(1, 25)))
    for _ in range(NUM_TEXTS):
        yield "".join(chr(rng.choice([rng.randint(32, 126), rng.randint(160, 0x2FFF), rng.randint(0x1F300, 0x1F6FF)]))
                      for _ in range(rng.randint(1, 30)))  # fmt: skip


def rebuild(folder: Path, into: Path, num_rows: int, **changes: Any) -> Any:
    """Describe a folder's tokenizer as GGUF does, build it again from that, and load it."""
    metadata = describe_tokenizer(folder, num_rows, [])
    kept = {key: value for key, value in (metadata | changes).items() if value is not None}
    header = Header(into / "x.gguf", kept, {})
    vocabulary = read_vocabulary(header, num_rows)
    into.mkdir(exist_ok=True)
    (into / "tokenizer.json").write_text(json.dumps(tokenizer_json(header, vocabulary)), encoding="utf-8")
    (into / "tokenizer_config.json").write_text(
        json.dumps(tokenizer_config(header, vocabulary, 4096)), encoding="utf-8"
    )
    return load(into)


def differing(one: Any, other: Any, found: list[str]) -> list[str]:
    left, right = (tokenizer._tokenizer.encode_batch(found) for tokenizer in (one, other))
    return [text for text, a, b in zip(found, left, right, strict=True) if a.ids != b.ids]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, Any, Path]:
    """A reference tokenizer's name, itself, what is built from its description, and the folder of that."""
    wanted = load(reference(request.param))
    folder = tmp_path_factory.mktemp("built") / request.param
    return request.param, wanted, rebuild(reference(request.param), folder, len(wanted)), folder


def test_ids_are_the_reference_tokenizers(family: tuple[str, Any, Any, Path]) -> None:
    name, wanted, built, _ = family
    assert len(texts()) == NUM_TEXTS
    assert differing(wanted, built, texts()) == []
    for role in ("bos_token", "eos_token", "unk_token", "pad_token", "chat_template"):
        assert getattr(built, role) == getattr(wanted, role)
    assert describe_tokenizer(reference(name), len(wanted), [])["tokenizer.ggml.pre"] == FAMILIES[name]


def test_decoding_is_the_reference_tokenizers(family: tuple[str, Any, Any, Path]) -> None:
    _, wanted, built, _ = family
    for text in texts()[:300]:
        ids = wanted.encode(text)
        assert built.decode(ids) == wanted.decode(ids)
        assert built.decode(ids, skip_special_tokens=True) == wanted.decode(ids, skip_special_tokens=True)


def test_merges_are_the_reference_tokenizers(family: tuple[str, Any, Any, Path]) -> None:
    """All of them, in the very order that the reference has them, SentencePiece's out of its scores."""
    name, _, _, folder = family
    content, built = (json.loads((path / "tokenizer.json").read_text()) for path in (reference(name), folder))
    listed = [merge.split(" ") if isinstance(merge, str) else merge for merge in content["model"]["merges"]]
    assert built["model"]["merges"] == listed


def test_merges_are_those_of_the_scores_that_pieces_have() -> None:
    """The scores in SentencePiece's own file, as GGUF files have them: many runs of spaces have the same."""
    sentencepiece = pytest.importorskip("sentencepiece", reason="sentencepiece is absent")
    folder = reference("tinyllama")
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    pieces = {model.id_to_piece(id_): id_ for id_ in range(model.get_piece_size())}
    content = json.loads((folder / "tokenizer.json").read_text())
    listed = [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in content["model"]["merges"]]
    assert merges_from_scores(pieces, [model.get_score(id_) for id_ in range(len(pieces))]) == listed


@pytest.mark.parametrize("name", ["smaug-bpe", "llama3"])
def test_other_names_of_a_cut_are_read(name: str, tmp_path: Path) -> None:
    """A file that says nothing of it: SmolLM3's texts begin with no token, Llama 3's do."""
    tokenizer = byte_level("llama-bpe")
    tokenizer.save_pretrained(tmp_path / "model")
    built = rebuild(
        tmp_path / "model", tmp_path / "built", len(tokenizer), **{"tokenizer.ggml.pre": name, DEFAULT: None}
    )
    assert differing(tokenizer, built, TEXTS) == ([] if name == "smaug-bpe" else TEXTS)


@pytest.mark.parametrize("cut", CUTS)
def test_every_cut_survives(cut: str, tmp_path: Path) -> None:
    tokenizer = byte_level(cut)
    tokenizer.save_pretrained(tmp_path / "model")
    assert describe_tokenizer(tmp_path / "model", len(tokenizer), [])["tokenizer.ggml.pre"] == cut
    built = rebuild(tmp_path / "model", tmp_path / "built", len(tokenizer) + 3)
    assert differing(tokenizer, built, [*TEXTS, *list(noise())[:500]]) == []
    assert len(built) == len(tokenizer)
