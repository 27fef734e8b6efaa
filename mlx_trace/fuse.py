"""Merge an adapter into its base and write a model directory, checked against the adapter before it is handed out.

Takes a base with its adapter loaded. A quantised base can lose an adapter in its rounding: that is measured on what was
written, read back, and refused.
The folder asks for traces by itself: its chat template and its settings are such that any tool that reads it does.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any, Final

from mlx.utils import tree_unflatten
from mlx_lm.utils import dequantize_model, save

from mlx_trace.config import FUSE_QUESTIONS
from mlx_trace.config_reinforce import MAX_TOKENS
from mlx_trace.errors import UserError
from mlx_trace.fidelity import Fidelity, compare, effect, write_traces
from mlx_trace.files import read_json, why_unwritten
from mlx_trace.folders import check_free, new_folder, plainly_named
from mlx_trace.model.base import Base, load_base
from mlx_trace.model.chat_template import CHAT_TEMPLATE, PROBES, stock_template
from mlx_trace.model.prompts import Prompter
from mlx_trace.model.weights import as_written

_TOKENIZER: Final = "tokenizer_config.json"
_GENERATION: Final = "generation_config.json"
WHAT: Final = "a fused model"


def fuse(
    base: Base, prompter: Prompter, folder: Path, dequantize: bool = False, n: int = FUSE_QUESTIONS,
    allow_loss: bool = False,
) -> Fidelity | None:  # fmt: skip
    """Write the fused model to a new folder; return what it keeps of the adapter, on n questions; None of none.

    UserError, and nothing written, if what was learnt is lost and that is not allowed.
    """
    check_free(folder, WHAT)
    template = stock_template(prompter)
    traces = write_traces(base, prompter, n) if n else None
    changed = effect(traces, _again(base, base.path)) if traces else 0.0
    config = base.config | {"eos_token_id": _ends(base), "torch_dtype": base.written_type}
    network = as_written(_merge(base.network, dequantize, config), base.written)
    with new_folder(folder) as temporary:
        with _told(folder), plainly_named(base.path) as source:
            save(temporary, source, network, base.tokenizer, config, donate_model=False)
        (temporary / "README.md").unlink(missing_ok=True)  # mlx-lm's card speaks of a hub model
        _write_asking(temporary, base, template)
        _check_asking(temporary, prompter)
        fidelity = compare(traces, changed, _again(base, temporary)) if traces else None
        if fidelity is not None and not isfinite(fidelity.largest):
            raise UserError(f"{folder}: the fused model's predictions are no numbers; nothing is written")
        if fidelity is not None and fidelity.is_lost and not allow_loss:
            raise UserError(*_alternatives(base, fidelity, "quantization" in config))
    return fidelity


def _again(base: Base, folder: Path) -> Base:
    """Load a model as `base` was, from a folder."""
    return load_base(str(folder), base.runs_code, base.computed, say=lambda _: None)


def _alternatives(base: Base, fidelity: Fidelity, is_quantised: bool) -> list[str]:
    """Return why a model is not handed out, and what to do instead."""
    bits = (base.config.get("quantization") or {}).get("bits")
    form = f"{bits}-bit weights" if is_quantised else f"{base.written_type} weights"
    ways = ["--dequantize writes full-precision weights, which keep it; --gguf FILE makes a file of such, with "
            "--gguf-type q8_0 one of half the size"] * is_quantised  # fmt: skip
    return [
        f"fused into {form}, the model would lose what its adapter learnt; nothing is written",
        str(fidelity),
        *ways,
        "or keep the adapter beside its base: mlx-trace chat, mlx_lm.generate and mlx_lm.server take --adapter-path",
        "or --allow-loss writes it all the same",
    ]


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
