"""Seeds: independent random streams, each named by its purpose and index; none is made by adding to another."""

from hashlib import blake2b
from random import Random


def derive_seed(*parts: str | int) -> int:
    """Return a 64-bit seed that depends on every part and on nothing else."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def stream(*parts: str | int) -> Random:
    """Return a random generator for what the parts name."""
    return Random(derive_seed(*parts))
