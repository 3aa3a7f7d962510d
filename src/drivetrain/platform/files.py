"""Files that predictions take and give, and the port that keeps them.

Inside the platform a file is a *reference*, the text ``drivetrain://files/<id>/<name>``, wherever it stands in an input or an
output. The id cannot be guessed, so naming one is the right to read it. Gateways turn references into signed URLs that expire, and
URLs of ours in inputs back into references; runners are given internal URLs. Nobody else sees a reference.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, NewType, Protocol

from drivetrain.model.errors import BadRequest, OutsideFailed
from drivetrain.model.prediction import PredictionId

FileId = NewType("FileId", str)

_SCHEME = "drivetrain://files/"
_REFERENCE = re.compile(r"drivetrain://files/([A-Za-z0-9]{26})/([^/\x00-\x1f]{1,255})", re.ASCII)


class FileTooLarge(BadRequest):
    """A file is larger than one may be."""

    code = "file_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the file is larger than {limit} bytes", hint="raise the platform's limit, or pass a URL")


class QuotaExceeded(OutsideFailed):
    """An owner's files take as much room as they may."""

    code = "quota_exceeded"

    def __init__(self, owner: str, quota: int) -> None:
        super().__init__(
            f"the files of '{owner}' take {quota} bytes already", hint="delete some, wait for them to expire, or raise the quota"
        )


class Origin(str, Enum):
    """Where a file came from; decides how long it is kept."""

    UPLOAD = "upload"
    INPUT = "input"
    OUTPUT = "output"


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file that is kept.

    Attributes:
        owner: Whose quota it counts against.
        name: Base name, safe to show and to save under.
        sha256: Of its content, in hexadecimal.
        md5: The same; some clients ask for it.
        prediction: Whose input or output it is.
        expires_at: When it may be deleted; ``None`` is never.
        metadata: What the uploader wants kept with it.
    """

    id: FileId
    owner: str
    name: str
    content_type: str
    size: int
    sha256: str
    md5: str
    origin: Origin
    created_at: datetime
    expires_at: datetime | None = None
    prediction: PredictionId | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        """What stands for it in inputs and outputs."""
        return f"{_SCHEME}{self.id}/{self.name}"


def read_reference(text: str) -> tuple[FileId, str] | None:
    """The id and name in a reference; ``None`` if the text is none."""
    match = _REFERENCE.fullmatch(text) if text.startswith(_SCHEME) else None
    return (FileId(match[1]), match[2]) if match else None


def map_texts(value: Any, change: Callable[[str], str]) -> Any:
    """A JSON value with every text in it changed; the value itself is left as it is, and returned where nothing changes."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        items = {key: map_texts(each, change) for key, each in value.items()}
        return items if any(items[key] is not value[key] for key in items) else value
    if isinstance(value, list):
        elements = [map_texts(each, change) for each in value]
        return elements if any(new is not old for new, old in zip(elements, value, strict=True)) else value
    return value


def replace_references(value: Any, replacement: Callable[[FileId, str], str]) -> Any:
    """A JSON value with every reference in it replaced."""

    def replace(text: str) -> str:
        found = read_reference(text)
        return replacement(*found) if found else text

    return map_texts(value, replace)


@dataclass(frozen=True, kw_only=True)
class NewFile:
    """What is known of a file before its content has come.

    Attributes:
        metadata: Taken as it is when the content has come to its end: a form may hold more of it behind the content.
    """

    owner: str
    name: str
    content_type: str | None
    origin: Origin
    expires_at: datetime | None
    prediction: PredictionId | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class FileStore(Protocol):
    """Keeps files. A file that is being written is not there yet; one that is there is whole."""

    async def put(self, new: NewFile, content: AsyncIterator[bytes], *, now: datetime, limit: int, quota: int | None) -> StoredFile:
        """Store a file. When this returns, its content and record are on disk; when it raises, nothing is left.

        The content type is taken from the content's first bytes where it is not given or says nothing.

        Raises:
            FileTooLarge: There is more than ``limit`` bytes of it.
            QuotaExceeded: The owner's files would take more than ``quota`` bytes.
            OutsideFailed: The disk is full, or the like.
        """

    async def get(self, file_id: FileId) -> StoredFile | None:
        """A file's record."""

    def read(self, file: StoredFile, *, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """Its content, or the bytes from ``start`` up to and without ``stop``."""

    async def find(
        self, *, owner: str, origin: Origin | None = None, before: tuple[datetime, str] | None = None, limit: int = 100
    ) -> list[StoredFile]:
        """An owner's files, newest first."""

    async def usage(self, owner: str) -> int:
        """How many bytes an owner's files take."""

    async def keep_until(self, file_id: FileId, expires_at: datetime | None) -> StoredFile | None:
        """Change when a file may be deleted; ``None`` is never. Its record as it is then, if there is such a file."""

    async def remove(self, file_id: FileId) -> bool:
        """Delete a file. Whether there was one."""

    async def sweep(self, *, now: datetime, limit: int = 1000) -> int:
        """Delete files that have expired, and what a crash left half-written; how many."""

    async def aclose(self) -> None:
        """Give up what it holds. May be called twice."""
