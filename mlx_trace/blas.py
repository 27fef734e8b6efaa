"""Linux without a GPU: load OpenBLAS before MLX, whose CPU wheel links the reference BLAS (36 times slower).

Nothing of the kind is needed, or done, on a Mac or with MLX's CUDA build.
"""

import ctypes
import os
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Final

from mlx_trace.notice import tell

_NAMES: Final = ("libopenblas.so.0", "libopenblas.so")
_CUDA_BUILDS: Final = ("mlx-cuda-13", "mlx-cuda-12")
_NARROW: Final = 512
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
            ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL | (os.RTLD_NOLOAD if is_late else 0))
        except OSError:
            continue
        return name
    if is_late:
        tell("MLX was imported first, without OpenBLAS, and is many times slower so: import mlx_trace.model before it")
    return None


def suit_threads(width: int) -> None:
    """Let OpenBLAS use one thread for a network of small width, all cores for others; OPENBLAS_NUM_THREADS decides.

    Narrow products are no faster on several threads, and many times slower once another process wants a core.
    """
    name = load_openblas()
    if name is not None and "OPENBLAS_NUM_THREADS" not in os.environ:
        library = ctypes.CDLL(name)
        library.openblas_set_num_threads(1 if width < _NARROW else library.openblas_get_num_procs())
