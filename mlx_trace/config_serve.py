"""What a server takes on: how much at once, how long, and from whom."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """Replies that are written at once, those that may wait beside them, seconds a request may take, bytes of its body,
    bodies that are read at once, and seconds that one may take."""

    max_sequences: int = 64
    max_queue: int = 1024
    timeout: float = 300.0
    max_body: int = 1 << 20
    max_bodies: int = 512
    body_timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is asked; port 0 is any free one."""

    host: str = "127.0.0.1"
    port: int = 8080


MOST_CHOICES: Final = 128  # replies to one request
