"""OpenBLAS is loaded before MLX, and where that is too late a line says so."""

import os
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu sse2 avx avx2 fma avx512f avx512dq avx512cd avx512bw avx512vl", "SkylakeX"),
        ("fpu sse2 avx avx2 fma avx512f avx512cd", "Haswell"),
        ("fpu sse2 avx", None),
        ("", None),
    ],
)
def test_kernels_suit_what_the_processor_can_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, expected: str | None
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor\t: 0\nflags\t\t: {flags}\nprocessor\t: 1\nflags\t\t: fpu\n")
    monkeypatch.setattr(blas, "_CPUINFO", file)
    assert blas._suited_kernels() == expected


def kernels_of(before: str, **environment: str) -> str:
    """Return which kernels a new process's OpenBLAS runs, some lines of Python run before it is loaded."""
    lines = f"from mlx_trace import blas\n{before}\nprint(blas.kernels())\nimport os; print(sorted(os.environ))"
    own = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    said = subprocess.run([sys.executable, "-c", lines], env=own | environment, capture_output=True, text=True)
    name, variables = said.stdout.splitlines()
    assert ("OPENBLAS_CORETYPE" in variables) == bool(environment)
    return name


@pytest.mark.skipif(not blas.is_wanted() or not blas.kernels(), reason="no OpenBLAS is loaded here")
def test_openblas_is_loaded_anew_where_it_would_run_its_oldest_kernels() -> None:
    alone = kernels_of("blas._suited_kernels = lambda: None")
    if blas._suited_kernels() is not None:
        assert kernels_of("") != blas._OLDEST
    assert kernels_of(f"blas._OLDEST = {alone!r}; blas._suited_kernels = lambda: 'Nehalem'") == "Nehalem"
    assert kernels_of("blas._suited_kernels = lambda: 'Nehalem'", OPENBLAS_CORETYPE="Core2") == "Core2"
