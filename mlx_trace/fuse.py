"""Merge an adapter into its base and write a model directory, checked against the adapter before it is handed out.

Takes a base with its adapter loaded. A quantised base can lose a small adapter in its rounding: that is measured.
The folder asks for traces by itself: its chat template and its settings are such that any tool that reads it does.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any, Final

import mlx.core as mx
from mlx.utils import tree_unflatten
from mlx_lm.utils import dequantize_model, save

from mlx_trace.config_reinforce import MAX_TOKENS
from mlx_trace.destination import check_new_folder
from mlx_trace.errors import UserError
from mlx_trace.files import read_json, unreadable, why_unwritten
from mlx_trace.model.base import Base, load_base
from mlx_trace.model.chat_template import CHAT_TEMPLATE, PROBES, stock_template
from mlx_trace.model.prompts import Prompter
from mlx_trace.model.weights import as_written

_TOKENIZER: Final = "tokenizer_config.json"
_GENERATION: Final = "generation_config.json"
_PROBE: Final = "A box holds 12 apples and a bag holds 7 more than that. How many apples are there in all?"


def fuse(base: Base, prompter: Prompter, folder: Path, dequantize: bool = False) -> float:
    """Write the fused model to a new folder; return how far its predictions are from the adapter's.

    The distance is the largest difference of next-token probabilities over a probe prompt, 0 to 1.
    """
    check_free(folder)
    template = stock_template(prompter)
    probe = mx.array([prompter.ids(_PROBE)])
    before = _probabilities(base.network, probe)
    mx.eval(before)
    config = base.config | {"eos_token_id": _ends(base), "torch_dtype": base.written_type}
    network = as_written(_merge(base.network, dequantize, config), base.written)
    with _new_folder(folder) as temporary:
        with _told(folder):
            save(temporary, base.path, network, base.tokenizer, config, donate_model=False)
        (temporary / "README.md").unlink(missing_ok=True)  # mlx-lm's card speaks of a hub model
        _write_asking(temporary, base, template)
        _check_asking(temporary, prompter)
        again = load_base(str(temporary), base.runs_code, base.computed, say=lambda _: None)
        after = _probabilities(again.network, probe)
        distance = float(mx.abs(after - before).max().item())
        if not isfinite(distance):
            raise UserError(f"{folder}: the fused model's predictions are no numbers; nothing is written")
    return distance


def check_free(folder: Path) -> None:
    """Refuse a folder that holds something."""
    check_new_folder(folder)


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder, which becomes `folder` if all goes well, and is removed if not."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise unreadable(folder, error) from None
    try:
        yield temporary
        folder.rmdir() if folder.exists() else None
        temporary.chmod(0o755)
        temporary.rename(folder)
    except OSError as error:
        raise unreadable(folder, error) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Say why a folder's weights could not be written; MLX does so with a RuntimeError."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"{folder}: could not be written: {why_unwritten(folder, error)}; nothing is left there"
        ) from None


def _ends(base: Base) -> int | list[int]:
    """Return what ends a reply: the token that training put behind the closing fence, and the base's own."""
    last = base.tokenizer.eos_token_id
    others = sorted(set(base.tokenizer.eos_token_ids) - {last})
    return [last, *others] if others else int(last)


def _write_asking(folder: Path, base: Base, template: str) -> None:
    """Write what makes other tools ask as training did, choose the likeliest token, and stop behind the trace."""
    shutil.rmtree(folder / "additional_chat_templates", ignore_errors=True)
    (folder / CHAT_TEMPLATE).write_text(template, encoding="utf-8", newline="\n")
    tokenizer = read_json(folder / _TOKENIZER)
    for key in ("chat_template", "auto_map"):  # a file holds the one, and the other would have code of the base run
        tokenizer.pop(key, None)
    tokenizer["tokenizer_class"] = "PreTrainedTokenizerFast"  # tokenizer.json as it stands, in every transformers
    (folder / _TOKENIZER).write_text(json.dumps(tokenizer, indent=2) + "\n", encoding="utf-8")
    of_base = folder / _GENERATION
    kept = read_json(of_base) if of_base.exists() else {}
    settings = {key: kept[key] for key in ("bos_token_id", "pad_token_id") if kept.get(key) is not None}
    settings |= {"eos_token_id": _ends(base), "do_sample": False, "max_new_tokens": MAX_TOKENS}
    of_base.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _check_asking(folder: Path, prompter: Prompter) -> None:
    """Refuse to hand out a folder that transformers, and what builds on it, would read otherwise than training did."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    for question in PROBES:
        asked = [{"role": "user", "content": question}]
        text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        if list(tokenizer.encode(text, add_special_tokens=False)) != prompter.ids(question):
            raise UserError(f"transformers would tokenize {question!r} otherwise than training did; nothing is written")


def _merge(network: Any, dequantize: bool, config: dict[str, Any]) -> Any:
    merged = [(name, module.fuse(dequantize=dequantize)) for name, module in network.named_modules()
              if hasattr(module, "fuse")]  # fmt: skip
    if merged:
        network.update_modules(tree_unflatten(merged))
    if dequantize:
        network = dequantize_model(network)
        config.pop("quantization", None)
        config.pop("quantization_config", None)
    return network


def _probabilities(network: Any, ids: mx.array) -> mx.array:
    return mx.softmax(network(ids).astype(mx.float32), axis=-1)
