"""Ids that cannot be guessed."""

from __future__ import annotations

import base64
import string
from collections.abc import Callable

_LETTERS = string.ascii_letters + string.digits


class Ids:
    """Gives ids, from a source of random bytes that is passed in.

    Args:
        random_bytes: Such as ``secrets.token_bytes``.
    """

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes

    def prediction(self) -> str:
        """26 lower-case letters and digits: the form of Replicate's, which some clients check."""
        return base64.b32encode(self._random_bytes(16)).decode().rstrip("=").lower()

    def text(self, length: int) -> str:
        """So many letters and digits."""
        # 256 is no multiple of 62: bytes that would make some letters likelier than others are thrown away.
        letters: list[str] = []
        while len(letters) < length:
            letters += [_LETTERS[byte % 62] for byte in self._random_bytes(length) if byte < 248]
        return "".join(letters[:length])

    def short(self) -> str:
        """12 lower-case letters and digits, for things that only need to be told apart."""
        return base64.b32encode(self._random_bytes(8)).decode().rstrip("=").lower()[:12]
