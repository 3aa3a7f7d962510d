"""An upload: a form with the part ``content`` and what is said about it, read as it comes.

The three clients write it in three ways: ``metadata`` as a text of JSON before the content, as a file part of type JSON after it,
or as fields ``metadata[key]``. The content goes to the store while it comes; what follows it in the form is read before the store
hears of its end, so that it is kept with it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header
from starlette.requests import Request

from drivetrain.gateways.http.body import body_chunks
from drivetrain.gateways.http.refusal import Refused
from drivetrain.gateways.replicate.bodies import InvalidBody

_MOST_PARTS = 100
_LARGEST_TEXT_BYTES = 1024 * 1024
#: For the form around the content.
_OVERHEAD_BYTES = 2 * _LARGEST_TEXT_BYTES

CONTENT = "content"


@dataclass(kw_only=True)
class UploadForm:
    """A form that is being read. Owned by the request that carries it.

    Attributes:
        name: The file's name, once the content has begun.
        content_type: Its type; ``None`` if the client does not say.
        metadata: Complete when the content has been read to its end.
    """

    name: str = "file"
    content_type: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    _texts: dict[str, str] = field(default_factory=dict)
    _items: AsyncIterator[_Item] | None = None

    @classmethod
    async def open(cls, request: Request, *, limit: int) -> UploadForm:
        """Read a form up to its content.

        Args:
            limit: Bytes that the content may have; the form's own are on top.

        Raises:
            Refused: 400, 413, 415, 422: it is no such form.
        """
        form = cls(_items=_items_of(request, limit + _OVERHEAD_BYTES))
        segment = await form._read_texts()
        if segment is None:
            raise InvalidBody(CONTENT, "is required: the form has no such part")
        form.name = form._texts.get("filename") or segment.filename or form.name
        form.content_type = form._texts.get("type") or segment.content_type or None
        return form

    async def content(self) -> AsyncIterator[bytes]:
        """The content; after its end the rest of the form has been read. Can be had once."""
        assert self._items is not None
        async for item in self._items:
            if item is None:
                break
            assert not isinstance(item, MultipartSegment)
            yield bytes(item)
        if await self._read_texts() is not None:
            raise InvalidBody(CONTENT, "is in the form twice")
        self.metadata.update(_metadata(self._texts))

    async def _read_texts(self) -> MultipartSegment | None:
        """Read parts up to the content, which is returned, or the end."""
        assert self._items is not None
        segment: MultipartSegment | None = None
        text = bytearray()
        async for item in self._items:
            if isinstance(item, MultipartSegment):
                segment = item
                text.clear()
                if segment.name == CONTENT:
                    return segment
            elif item is not None:
                text += item
                if len(text) > _LARGEST_TEXT_BYTES:
                    raise Refused(413, f"the part '{segment.name if segment else ''}' is too large for a text")
            elif segment is not None:
                self._texts[segment.name] = _text_of(segment, text)
        return None


def _text_of(segment: MultipartSegment, content: bytearray) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Refused(400, f"the part '{segment.name}' is no text in UTF-8") from error


#: A part's head, a piece of its content, or ``None`` at its end; the parser's types are not known to the checker.
_Item: TypeAlias = Any


async def _items_of(request: Request, limit: int) -> AsyncIterator[_Item]:
    """What the parser makes of the body: a part's head, pieces of its content, ``None`` at its end."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != "multipart/form-data":
        raise Refused(415, "an upload is a form: multipart/form-data with the part 'content'")
    boundary = options.get("boundary")
    if not boundary:
        raise Refused(400, "the form has no boundary in its Content-Type header")
    try:
        with PushMultipartParser(boundary, max_segment_count=_MOST_PARTS) as parser:
            async for chunk in body_chunks(request, limit=limit):
                for item in parser.parse(chunk):
                    yield item
    except (MultipartError, UnicodeDecodeError) as error:
        raise Refused(400, f"the body is not a form: {error}") from error


def _metadata(texts: dict[str, str]) -> dict[str, Any]:
    named = {key[len("metadata[") : -1]: text for key, text in texts.items() if key.startswith("metadata[") and key.endswith("]")}
    if "metadata" not in texts:
        return named
    try:
        value = json.loads(texts["metadata"])
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidBody("metadata", "must be a JSON object")
    return {**value, **named}
