"""Bodies of requests: bounded, and on disk rather than in memory where they are large."""

from __future__ import annotations

import mmap
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request

from drivetrain.gateways.http.refusal import Refused
from drivetrain.serving.http.spool import spooled

#: Bytes that a body of JSON may have, files inside it included.
JSON_BYTES = 100 * 1024 * 1024

_decode = msgspec.json.Decoder().decode


async def read_object(request: Request, *, limit: int = JSON_BYTES) -> dict[str, Any]:
    """The JSON object in a request's body; an empty one where there is no body.

    Raises:
        Refused: 400, 413, 415.
    """
    value = await read_json(request, limit=limit)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refused(400, "the body must be a JSON object")
    return value


async def read_json(request: Request, *, limit: int = JSON_BYTES) -> Any:
    """The JSON value in a request's body; ``None`` where there is no body.

    Raises:
        Refused: 400, 413, 415.
    """
    body = await read_bytes(request, limit=limit)
    if isinstance(body, bytes) and not body.strip():
        return None
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type and content_type != "application/json" and not content_type.endswith("+json"):
        raise Refused(415, f"the body must be JSON, not '{content_type}'", hint="send the header Content-Type: application/json")
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, f"the body is not JSON: {error}") from error


async def read_bytes(request: Request, *, limit: int) -> bytes | mmap.mmap:
    """A whole body.

    Raises:
        Refused: 413: it is larger than the limit.
        OutsideFailed: There is no room for it.
    """
    return await spooled(body_chunks(request, limit=limit))


async def body_chunks(request: Request, *, limit: int) -> AsyncIterator[bytes]:
    """A body as it comes.

    Raises:
        Refused: 413: it is larger than the limit.
        ClientDisconnect: It did not come whole.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    size = 0
    while True:
        message = await request.receive()
        if message["type"] != "http.request":
            raise ClientDisconnect
        if chunk := message.get("body", b""):
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            yield chunk
        if not message.get("more_body"):
            return


def _too_large(limit: int) -> Refused:
    return Refused(413, f"the body is larger than the limit of {limit} bytes")
