"""API keys: who may do what. Only a digest of a key is kept."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

#: Replicate's clients check nothing about a token, but people recognise keys by their first letters, and so do secret scanners.
_PREFIX = "dt_"
_KEY = re.compile(r"dt_[A-Za-z0-9]{40}", re.ASCII)


class Scope(str, Enum):
    """What a key allows. A larger one includes the smaller."""

    CALL = "call"  #: run predictions and look at them
    DEPLOY = "deploy"  #: also deploy, scale, read logs, keep secrets of its owner's apps
    ADMIN = "admin"  #: everything, for every owner

    def includes(self, other: Scope) -> bool:
        """Whether what ``other`` allows is allowed."""
        order = list(Scope)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """A key, without the key itself.

    Attributes:
        id: Shown in lists and audit lines.
        digest: SHA-256 of the key. Keys are random and long, so a slow hash would add nothing.
        owner: Whose apps it is for.
        hint: The key's last four characters.
        requests_per_minute: Predictions it may create per minute; ``None`` is any number.
        concurrency: Predictions it may have under way; ``None`` is any number.
    """

    id: str
    digest: str
    owner: str
    scope: Scope
    name: str
    hint: str
    created_at: datetime
    expires_at: datetime | None = None
    requests_per_minute: int | None = None
    concurrency: int | None = None


def digest_of(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def new_key(random_text: Callable[[int], str]) -> str:
    """A key.

    Args:
        random_text: Gives so many random letters and digits.
    """
    return _PREFIX + random_text(40)


def looks_like_key(text: str) -> bool:
    """Whether a text may be a key; to say something more helpful than "wrong key"."""
    return _KEY.fullmatch(text) is not None


@dataclass(frozen=True, kw_only=True)
class AuditLine:
    """Something that somebody did to the platform.

    Attributes:
        actor: Id of the key.
        action: Such as ``app.deploy``, ``secret.set``, ``key.revoke``.
        subject: To what.
        detail: More, never a secret's value.
    """

    at: datetime
    actor: str
    action: str
    subject: str
    detail: str = ""


class KeyStore(Protocol):
    """Keeps API keys, and who did what."""

    async def add_key(self, key: ApiKey) -> None:
        """Add a key."""

    async def key_by_digest(self, digest: str) -> ApiKey | None:
        """The key with this digest."""

    async def keys(self) -> list[ApiKey]:
        """All of them, oldest first."""

    async def remove_key(self, key_id: str) -> bool:
        """Forget a key. Whether there was one."""

    async def add_audit_line(self, line: AuditLine) -> None:
        """Write down who did what."""

    async def audit_lines(self, *, limit: int = 100) -> list[AuditLine]:
        """The latest, newest first."""
