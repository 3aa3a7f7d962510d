"""Output files as ``data:`` URLs, for clients that take nothing else for a file.

The official clients make file objects of strings that begin with ``https:`` or ``data:``, and leave ``http:`` as a string. A
platform that is called without TLS therefore puts small files into the answer itself for whoever waits for it.
"""

from __future__ import annotations

import base64
from typing import Any

from drivetrain.model.errors import DrivetrainError
from drivetrain.platform.files import FileId, FileStore, read_reference, replace_references

#: Larger files stay URLs, and so do those beyond the sum: an answer is made in memory.
LARGEST_BYTES = 4 * 1024 * 1024
MOST_BYTES = 16 * 1024 * 1024


async def with_small_files(files: FileStore, value: Any) -> Any:
    """A JSON value with ``data:`` URLs instead of references to small files."""
    references: list[tuple[FileId, str]] = []
    _collect(value, references)
    left = MOST_BYTES
    inlined: dict[FileId, str] = {}
    for file_id, _ in references:
        if file_id in inlined:
            continue
        url = await _data_url(files, file_id, min(left, LARGEST_BYTES))
        if url is not None:
            inlined[file_id] = url
            left -= len(url) * 3 // 4
    return replace_references(value, lambda file_id, name: inlined.get(file_id) or f"drivetrain://files/{file_id}/{name}")


async def _data_url(files: FileStore, file_id: FileId, limit: int) -> str | None:
    try:
        stored = await files.get(file_id)
        if stored is None or stored.size > limit:
            return None
        content = b"".join([chunk async for chunk in files.read(stored)])
    except DrivetrainError:
        return None  # the prediction has ended well; its answer must not fail for this
    return f"data:{stored.content_type};base64,{base64.b64encode(content).decode()}"


def _collect(value: Any, references: list[tuple[FileId, str]]) -> None:
    if isinstance(value, str):
        if (found := read_reference(value)) is not None:
            references.append(found)
    elif isinstance(value, dict):
        for each in value.values():
            _collect(each, references)
    elif isinstance(value, list):
        for each in value:
            _collect(each, references)
