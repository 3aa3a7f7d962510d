"""Secrets of apps: sealed where they are kept, open only on their way into a runner's environment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from drivetrain.platform.app import AppName


@dataclass(frozen=True, kw_only=True)
class SealedSecret:
    """A secret as it is kept.

    Attributes:
        owner: Whose.
        app: For this app of the owner alone; ``None`` is for all of them. An app's own wins.
        name: The variable's name.
        sealed: The value, encrypted.
    """

    owner: str
    app: AppName | None
    name: str
    sealed: bytes
    updated_at: datetime


class SecretStore(Protocol):
    """Keeps sealed secrets, and the platform's own sealed values."""

    async def put_secret(self, secret: SealedSecret) -> None:
        """Add a secret, or replace the one of that name and reach."""

    async def secrets(self, owner: str) -> list[SealedSecret]:
        """An owner's, by app and name."""

    async def remove_secret(self, owner: str, app: AppName | None, name: str) -> bool:
        """Forget a secret. Whether there was one."""

    async def value(self, name: str) -> bytes | None:
        """One of the platform's own values, such as the key that URLs are signed with."""

    async def put_value(self, name: str, value: bytes, *, replace: bool = False) -> bytes:
        """Keep one of the platform's own values, unless there is one; the one that is kept then."""


class Vault(Protocol):
    """Seals and opens values."""

    def seal(self, value: bytes) -> bytes:
        """Encrypt."""

    def open(self, sealed: bytes) -> bytes:
        """Decrypt.

        Raises:
            OutsideFailed: It was sealed with another key, or changed since.
        """
