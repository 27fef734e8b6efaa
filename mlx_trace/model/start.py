"""What a new adapter begins with: the weights of others, those of other layers or of another rank, too.

Takes a loaded `Base` whose adapter is attached, and changes that adapter's weights alone.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import mlx.core as mx
import numpy as np

from mlx_trace.errors import UserError
from mlx_trace.model.adapter import ADAPTER_WEIGHTS, adapter_weights, check_weights, read_weights
from mlx_trace.model.base import Base
from mlx_trace.notice import tell
from mlx_trace.numbered import numbered
from mlx_trace.resources import adapter_at

Weights = dict[str, mx.array]
_A, _B = ".lora_a", ".lora_b"  # (D, r) and (r, E): x A B is added
_LAYER: Final = re.compile(r"\blayers\.(\d+)\.")


def check_start(paths: Sequence[Path]) -> None:
    """Refuse adapters to start from that are not there: an adapters.safetensors, or the directory of a run."""
    missing = [path for path in paths if not _weights_file(path).is_file()]
    if missing:
        raise UserError(*(f"resume_adapter_file: {path}: no such file" for path in missing))


def _weights_file(path: Path) -> Path:
    path = adapter_at(path)
    return path / ADAPTER_WEIGHTS if path.is_dir() else path


def start_from(base: Base, paths: Sequence[Path]) -> None:
    """Give a new adapter the mean of the weights of others, which `check_start` has found there.

    A layer that one does not have counts as one that changes nothing; what none has begins as a new adapter does; what
    is in layers that are not trained here is left out, which is told. Of another rank than the new adapter's it is the
    nearest of that rank (Eckart and Young 1936), or all of a lower one. UserError if one does not fit.
    """
    own = dict(adapter_weights(base.network))
    files = [_weights_file(path) for path in paths]  # one that is named again counts again, and is read once
    known = {file: _read(file, base, own) for file in dict.fromkeys(files)}
    given = [known[file] for file in files]
    if len(ranks := {_rank(weights) for weights in given}) > 1:
        raise UserError(
            f"resume_adapter_file: adapters of ranks {', '.join(map(str, sorted(ranks)))} have no mean here"
        )
    mean = _mean(own, given)
    fitted = _fitted(own, mean)
    _tell_rank(_rank(mean), _rank(own), mean, fitted)
    base.network.load_weights(list(fitted.items()), strict=False)
    mx.eval(base.network.trainable_parameters())


def _read(file: Path, base: Base, own: Weights) -> Weights:
    """Return the weights of one that fits, in the new adapter's type."""
    stored = read_weights(file, misfit := f"resume_adapter_file: {file}: this adapter does not fit the new one")
    elsewhere = {str(layer) for layer in range(base.num_layers)} - _layers(own)
    weights = {name: value for name, value in stored.items() if not _layers([name]) & elsewhere}
    _tell_left_out(file, stored, weights)
    check_weights(_fitted(own, weights), own, misfit)
    _tell_layers(file, own, weights)
    return {name: value.astype(own[name].dtype) for name, value in weights.items()}


def _layers(names: Iterable[str]) -> set[str]:
    return {match[1] for name in names if (match := _LAYER.search(name))}


def _rank(weights: Mapping[str, mx.array]) -> int:
    """Return the rank of an adapter's matrices; 0 without any."""
    return next((value.shape[-1] for name, value in weights.items() if name.endswith(_A)), 0)


def _mean(own: Weights, given: Sequence[Weights]) -> Weights:
    """Return the mean of adapters that have some of the layers each: A of those that have it, B as 0 elsewhere."""
    mean: Weights = {}
    for name, new in own.items():
        there = [weights[name] for weights in given if name in weights]
        if not there:
            continue
        if name.endswith((_A, _B)):
            mean[name] = sum(there[1:], there[0]) / (len(there) if name.endswith(_A) else len(given))
        else:  # weights and lengths of what a file does not have are the base's
            mean[name] = sum(there, new * (len(given) - len(there))) / len(given)
    return mean


def _fitted(own: Weights, weights: Weights) -> Weights:
    """Return weights for all of the new adapter's layers, and of its rank, as far as they can be."""
    there = _layers(weights)
    fitted = {name: value for name, value in own.items() if there and not _layers([name]) & there} | weights
    for name, (a, b) in _pairs(weights).items():
        # what else is wrong with a pair of another rank is told by whoever checks
        if name in own and a.shape[1] != own[name].shape[1] and all(mx.isfinite(part).all().item() for part in (a, b)):
            fitted |= zip((name, _other(name)), _of_rank(a, b, own[name]), strict=True)
    return fitted


def _other(name: str) -> str:
    """Return the name of the B that goes with an A."""
    return name.removesuffix(_A) + _B


def _pairs(weights: Weights) -> dict[str, tuple[mx.array, mx.array]]:
    """Return LoRA's A and B by the name of A, those that have a product."""
    named = {name: (weights[name], weights[_other(name)]) for name in weights
             if name.endswith(_A) and _other(name) in weights}  # fmt: skip
    return {name: (a, b) for name, (a, b) in named.items() if a.ndim == b.ndim == 2 and a.shape[1] == b.shape[0]}


def _of_rank(a: mx.array, b: mx.array, new: mx.array) -> tuple[mx.array, mx.array]:
    """Return A (D, r) and B (r, E) of a new A's rank: the nearest product, or the same one with more columns."""
    have, rank = a.shape[1], new.shape[1]
    if have < rank:
        more = mx.zeros((rank - have, b.shape[1]), dtype=b.dtype)
        return mx.concatenate([a, new[:, have:].astype(a.dtype)], axis=1), mx.concatenate([b, more])
    left, upper = np.linalg.qr(np.array(a.astype(mx.float32)))
    right, lower = np.linalg.qr(np.array(b.astype(mx.float32)).T)
    u, sizes, v = np.linalg.svd(upper @ lower.T)
    roots = np.sqrt(sizes[:rank])
    return mx.array((left @ u[:, :rank]) * roots), mx.array(((right @ v[:rank].T) * roots).T)


def _tell_left_out(file: Path, stored: Weights, weights: Weights) -> None:
    """Tell which layers of an adapter the new one does not have, and how much is in them."""
    if out := _layers(stored) - _layers(weights):
        tell(f"resume_adapter_file: {file}: {numbered(len(out), 'layer')} of {len(_layers(stored))} are not trained "
             f"here, and are left out{_share(stored, weights)}")  # fmt: skip


def _share(stored: Weights, weights: Weights) -> str:
    """Return how much of the square of what an adapter changes is kept, where that can be known: of LoRA, alone."""
    if 2 * len(_pairs(stored)) < len(stored) or not (whole := _size(stored)):
        return ""
    return f"; {_size(weights) / whole:.1%} of what it changes are kept"


def _tell_layers(file: Path, own: Weights, weights: Weights) -> None:
    if missing := len(_layers(own) - _layers(weights)):
        tell(f"resume_adapter_file: {file}: {numbered(missing, 'layer')} of {len(_layers(own))} are not in it, and "
             "begin as new ones do")  # fmt: skip


def _tell_rank(have: int, rank: int, weights: Weights, fitted: Weights) -> None:
    """Tell how much of what adapters of a higher rank change is kept, as a share of its square."""
    if have <= rank:
        return
    before, after = _size(weights), _size(fitted)
    tell(f"resume_adapter_file: of rank {have} {after / before if before else 1.0:.1%} are kept at rank {rank}")


def _size(weights: Weights) -> float:
    """Return the squared length of all products A B (D, E) together."""
    pairs = ((a.astype(mx.float32), b.astype(mx.float32)) for a, b in _pairs(weights).values())
    return sum(float(((a.T @ a) * (b @ b.T)).sum().item()) for a, b in pairs)
