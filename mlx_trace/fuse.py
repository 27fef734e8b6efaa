"""Merge an adapter into its base and write a model directory, checked against the adapter before it is handed out.

Takes a base with its adapter loaded. A quantised base can lose a small adapter in its rounding: that is measured.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

import mlx.core as mx
from mlx.utils import tree_unflatten
from mlx_lm.utils import dequantize_model, save

from mlx_trace.errors import UserError
from mlx_trace.files import unreadable
from mlx_trace.model.base import Base, load_base
from mlx_trace.model.prompts import Prompter
from mlx_trace.model.weights import as_written

_PROBE: Final = "A box holds 12 apples and a bag holds 7 more than that. How many apples are there in all?"


def fuse(base: Base, prompter: Prompter, folder: Path, dequantize: bool = False) -> float:
    """Write the fused model to a new folder; return how far its predictions are from the adapter's.

    The distance is the largest difference of next-token probabilities over a probe prompt, 0 to 1.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: exists already; a fused model is written to a new directory")
    probe = mx.array([prompter.ids(_PROBE)])
    before = _probabilities(base.network, probe)
    mx.eval(before)
    config = dict(base.config) | {"torch_dtype": base.written_type}
    network = as_written(_merge(base.network, dequantize, config), base.written)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise unreadable(folder, error) from None
    try:
        save(temporary, base.path, network, base.tokenizer, config, donate_model=False)
        (temporary / "README.md").unlink(missing_ok=True)  # mlx-lm's card speaks of a hub model
        after = _probabilities(load_base(str(temporary), dtype=base.computed, say=lambda _: None).network, probe)
        folder.rmdir() if folder.exists() else None
        temporary.chmod(0o755)
        temporary.rename(folder)
    except OSError as error:
        raise unreadable(folder, error) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return float(mx.abs(after - before).max().item())


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
