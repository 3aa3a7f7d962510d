"""Digests, and streams that know theirs."""

from __future__ import annotations

import hashlib
from typing import Protocol

BLOCK = 1024 * 1024


class Sink(Protocol):
    """Takes bytes."""

    def write(self, data: bytes, /) -> object:
        """Take some."""


def digest_of(content: bytes) -> str:
    """The name of some bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Hashing:
    """Passes bytes on, and knows the digest and number of those that went by."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        """Pass some on."""
        self._hash.update(data)
        self.size += len(data)
        self._sink.write(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    @property
    def digest(self) -> str:
        """Of all that went by."""
        return f"sha256:{self._hash.hexdigest()}"
