"""OpenBLAS is loaded before MLX, and where that is too late a line says so."""

import sys

import mlx.core
import pytest

from mlx_trace import blas


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let MLX compute on a Linux CPU, where no OpenBLAS is found."""
    monkeypatch.setattr(blas, "is_wanted", lambda: True)
    monkeypatch.setattr(blas, "_NAMES", ("libopenblas-that-is-not.so",))


@pytest.mark.usefixtures("no_library")
def test_a_script_that_imports_mlx_first_is_told_that_it_will_be_slow(capsys: pytest.CaptureFixture[str]) -> None:
    assert mlx.core.__name__ in sys.modules
    assert blas.load_openblas.__wrapped__() is None
    said = capsys.readouterr()
    assert "import mlx_trace.model before it" in said.err
    assert said.err.count("\n") == 1 and not said.out


@pytest.mark.usefixtures("no_library")
def test_nothing_is_said_before_mlx_is_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "mlx.core")
    assert blas.load_openblas.__wrapped__() is None
    assert not capsys.readouterr().err
