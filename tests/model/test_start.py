"""A new adapter begins with what others have learnt: of other layers, of another rank, of several the mean."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_trace.errors import UserError
from mlx_trace.model.adapter import adapter_weights, attach_adapter
from mlx_trace.model.base import Base, load_base
from mlx_trace.model.start import start_from
from tests.model.test_base import IDS, config, make_adapter, same

import mlx.core as mx  # isort: skip

Out = pytest.CaptureFixture[str]


def begun(model: Path, starts: list[Path], **changes: Any) -> Base:
    """Return the random model with a new adapter that began with others."""
    base = load_base(str(model))
    attach_adapter(base, config(Path("new"), **changes))
    start_from(base, starts)
    base.network.eval()
    return base


def weights_of(run: Path) -> dict[str, mx.array]:
    return dict(mx.load(str(run / "adapters.safetensors")))


@pytest.mark.parametrize("kind", ["lora", "dora", "full"])
def test_more_layers_begin_as_new_ones(random_model: Path, tmp_path: Path, kind: str, capsys: Out) -> None:
    said = make_adapter(random_model, tmp_path / "one", fine_tune_type=kind)
    base = begun(random_model, [tmp_path / "one"], fine_tune_type=kind, num_layers=2)
    assert same(base.network(IDS), said)
    assert "1 layer of 2 are not in it" in capsys.readouterr().err
    assert len(dict(adapter_weights(base.network))) == 2 * len(weights_of(tmp_path / "one"))


@pytest.mark.parametrize("kind", ["lora", "dora", "full"])
def test_layers_that_are_not_trained_here_are_left_out(
    random_model: Path, tmp_path: Path, kind: str, capsys: Out
) -> None:
    make_adapter(random_model, tmp_path / "two", fine_tune_type=kind, num_layers=2)
    new = dict(adapter_weights(begun(random_model, [tmp_path / "two"], fine_tune_type=kind).network))
    old = weights_of(tmp_path / "two")
    assert 0 < len(new) < len(old)
    assert all(mx.array_equal(value, old[name]) for name, value in new.items())
    said = capsys.readouterr().err
    assert "1 layer of 2 are not trained here, and are left out" in said
    if kind == "lora":
        squares = {name: np.square(np.array(old[name] @ old[name.replace("lora_a", "lora_b")])).sum()
                   for name in old if name.endswith("lora_a")}  # fmt: skip
        share = sum(squares[name] for name in squares if name in new) / sum(squares.values())
        assert f"; {share:.1%} of what it changes are kept" in said
    else:
        assert "kept" not in said


def test_layers_that_the_base_does_not_have_are_refused(random_model: Path, tmp_path: Path) -> None:
    make_adapter(random_model, tmp_path / "two", num_layers=2)
    deeper = {name.replace("layers.0.", "layers.40."): value for name, value in weights_of(tmp_path / "two").items()}
    mx.eval(deeper)
    mx.save_safetensors(str(tmp_path / "two" / "adapters.safetensors"), deeper)
    with pytest.raises(UserError, match="does not fit the new one"):
        begun(random_model, [tmp_path / "two"])


def test_a_higher_rank_changes_nothing_at_first(random_model: Path, tmp_path: Path, capsys: Out) -> None:
    said = make_adapter(random_model, tmp_path / "four")
    lora = {"rank": 7, "scale": 2.0}
    base = begun(random_model, [tmp_path / "four"], lora_parameters=lora, num_layers=2)
    assert same(base.network(IDS), said)
    new = dict(adapter_weights(base.network))
    assert all(mx.any(new[name][:, 4:] != 0).item() for name in new if name.endswith("lora_a")), "all of it can learn"
    assert "kept" not in capsys.readouterr().err


def test_a_lower_rank_keeps_the_nearest_products(random_model: Path, tmp_path: Path, capsys: Out) -> None:
    make_adapter(random_model, tmp_path / "four")
    new = dict(
        adapter_weights(begun(random_model, [tmp_path / "four"], lora_parameters={"rank": 3, "scale": 2.0}).network)
    )
    old = weights_of(tmp_path / "four")
    kept = whole = 0.0
    for name in (name for name in old if name.endswith("lora_a")):
        other = name.replace("lora_a", "lora_b")
        before, after = (np.array(one[name] @ one[other]) for one in (old, new))
        sizes = np.linalg.svd(before, compute_uv=False)
        assert np.linalg.norm(before - after) == pytest.approx(sizes[3], rel=1e-3), name
        kept, whole = kept + float((sizes[:3] ** 2).sum()), whole + float((sizes**2).sum())
    assert f"of rank 4 {kept / whole:.1%} are kept at rank 3" in capsys.readouterr().err
    assert 0.5 < kept / whole < 1


def test_of_several_a_layer_that_one_lacks_changes_half(random_model: Path, tmp_path: Path) -> None:
    make_adapter(random_model, tmp_path / "one")
    make_adapter(random_model, tmp_path / "two", num_layers=2)
    new = dict(adapter_weights(begun(random_model, [tmp_path / "one", tmp_path / "two"], num_layers=2).network))
    one, two = weights_of(tmp_path / "one"), weights_of(tmp_path / "two")
    for name, value in new.items():
        halved = name in one or name.endswith("lora_b")
        wanted = (one.get(name, 0) + two[name]) / (2 if halved else 1)
        assert mx.allclose(value, wanted, atol=1e-6), name


def test_adapters_of_several_ranks_have_no_mean(random_model: Path, tmp_path: Path) -> None:
    make_adapter(random_model, tmp_path / "four")
    make_adapter(random_model, tmp_path / "two", lora_parameters={"rank": 2, "scale": 2.0})
    with pytest.raises(UserError, match="ranks 2, 4 have no mean"):
        begun(random_model, [tmp_path / "four", tmp_path / "two"])


def test_numbers_that_are_none_are_refused_at_another_rank_too(random_model: Path, tmp_path: Path) -> None:
    make_adapter(random_model, tmp_path / "four")
    broken = {name: value * float("nan") for name, value in weights_of(tmp_path / "four").items()}
    mx.eval(broken)
    mx.save_safetensors(str(tmp_path / "four" / "adapters.safetensors"), broken)
    with pytest.raises(UserError, match="no finite numbers"):
        begun(random_model, [tmp_path / "four"], lora_parameters={"rank": 2, "scale": 2.0})
