"""Linux without a GPU: load OpenBLAS before MLX, whose CPU wheel links the reference BLAS (36 times slower).

Nothing of the kind is needed, or done, on a Mac or with MLX's CUDA build.
"""

import _ctypes
import ctypes
import os
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from mlx_trace.notice import tell

_NAMES: Final = ("libopenblas.so.0", "libopenblas.so")
_CUDA_BUILDS: Final = ("mlx-cuda-13", "mlx-cuda-12")
_NARROW: Final = 512
_CORETYPE: Final = "OPENBLAS_CORETYPE"  # by which OpenBLAS is told its kernels, when it is loaded
_OLDEST: Final = "Prescott"  # SSE3, of 2004: what OpenBLAS up to 0.3.24 runs on Intel's processors that came after it
_CPUINFO: Final = Path("/proc/cpuinfo")
INSTALL: Final = "apt-get install libopenblas0-pthread (Debian, Ubuntu), or your system's OpenBLAS package"


def is_wanted() -> bool:
    """Tell whether MLX will compute on a Linux CPU."""
    return sys.platform == "linux" and find_spec("mlx") is not None and not _has_cuda()


def _has_cuda() -> bool:
    for name in _CUDA_BUILDS:
        try:
            version(name)
        except PackageNotFoundError:
            continue
        return True
    return False


@lru_cache(maxsize=1)
def load_openblas() -> str | None:
    """Load OpenBLAS into the global symbol scope, where MLX finds it first; return its name, None without one.

    Must run before the first import of mlx.core: every package that imports MLX calls it. Where MLX was imported before
    and OpenBLAS was not, says so.
    """
    if not is_wanted():
        return None
    is_late = "mlx.core" in sys.modules
    for name in _NAMES:
        try:
            if is_late:
                ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL | os.RTLD_NOLOAD)
            else:
                _load_kernels(name)
        except OSError:
            continue
        return name
    if is_late:
        tell("MLX was imported first, without OpenBLAS, and is many times slower so: import mlx_trace.model before it")
    return None


def _load_kernels(name: str) -> None:
    """Load OpenBLAS with kernels that suit the processor: where it would run its oldest ones, it is told which.

    AVX-512 kernels are five times as fast as those. OPENBLAS_CORETYPE, where it is set, decides.
    """
    library = ctypes.CDLL(name)
    is_free = _CORETYPE not in os.environ and _kernels(library) == _OLDEST
    suited = _suited_kernels() if is_free else None
    if suited is not None:
        _ctypes.dlclose(library._handle)
        os.environ[_CORETYPE] = suited
    try:
        ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
    finally:
        if suited is not None:
            del os.environ[_CORETYPE]


def kernels() -> str:
    """Return the processor whose kernels OpenBLAS runs; "" without one, or if it does not say."""
    name = load_openblas()
    return _kernels(ctypes.CDLL(name)) if name else ""


def _kernels(library: ctypes.CDLL) -> str:
    try:
        library.openblas_get_corename.restype = ctypes.c_char_p
        said: bytes | None = library.openblas_get_corename()
    except AttributeError:
        return ""
    return (said or b"").decode()


def _suited_kernels() -> str | None:
    """Return OpenBLAS's name for a processor that can do what this one can; None before AVX2, and off Linux on x86."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    flags = set(next((line for line in lines if line.startswith("flags")), "").split())
    if {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"} <= flags:
        return "SkylakeX"
    return "Haswell" if {"avx2", "fma"} <= flags else None


def suit_threads(width: int) -> None:
    """Let OpenBLAS use one thread for a network of small width, all cores for others; OPENBLAS_NUM_THREADS decides.

    Narrow products are no faster on several threads, and many times slower once another process wants a core.
    """
    name = load_openblas()
    if name is not None and "OPENBLAS_NUM_THREADS" not in os.environ:
        library = ctypes.CDLL(name)
        library.openblas_set_num_threads(1 if width < _NARROW else library.openblas_get_num_procs())
