"""Stored files over HTTP: by signed URLs for everybody, and by each runner's own URL for runners."""

from __future__ import annotations

import urllib.parse
from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from drivetrain.gateways.http.addresses import FILES_PATH, Addresses
from drivetrain.gateways.http.answer import Json, Stream
from drivetrain.gateways.http.body import body_chunks
from drivetrain.gateways.http.content_range import read_range
from drivetrain.gateways.http.guard import Admits, Guard
from drivetrain.gateways.http.refusal import Refused
from drivetrain.model.prediction import PredictionId
from drivetrain.platform.access import Caller, NotFound
from drivetrain.platform.files import FileId, FileStore, StoredFile
from drivetrain.platform.gate import RunnerFiles

#: Types that browsers show without running anything. All else is saved, so that nobody's page runs as ours.
_SHOWN_KINDS = ("image/", "audio/", "video/")
_SHOWN_TYPES = frozenset({"text/plain", "application/json", "application/pdf"})
_NEVER_SHOWN = frozenset({"image/svg+xml"})

_SAFE = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


class RunnerDoor(Protocol):
    """Knows runners by the tokens in their URLs; ``Platform`` does."""

    def runner_files(self, token: str) -> RunnerFiles:
        """Whose URL this is.

        Raises:
            NotFound: Nobody's.
        """


def public_routes(guard: Guard, addresses: Addresses, files: FileStore) -> Sequence[BaseRoute]:
    """Files by signed URL."""

    async def show(request: Request, _: Caller) -> Response:
        if not addresses.is_signed(request):
            raise Refused(
                403, "this URL has expired, or its signature is wrong", hint="ask for the prediction again: it has new URLs"
            )
        file_id = request.path_params["file_id"]
        stored = await files.get(FileId(file_id))
        if stored is None:
            raise NotFound("file", file_id)
        return file_response(request, stored, files)

    return [guard.route(FILES_PATH + "/{file_id}/{name:path}", show, "GET", admits=Admits.ANYBODY)]


def runner_routes(guard: Guard, door: RunnerDoor, files: FileStore, *, limit: int) -> Sequence[Route]:
    """What runners call. The token in the URL is their key."""

    async def show(request: Request, _: Caller) -> Response:
        own = door.runner_files(request.path_params["token"])
        return file_response(request, await own.get(FileId(request.path_params["file_id"])), files)

    async def store(request: Request, _: Caller) -> Response:
        own = door.runner_files(request.path_params["token"])
        stored = await own.put(
            PredictionId(request.path_params["prediction_id"]),
            request.path_params["name"],
            request.headers.get("content-type"),
            body_chunks(request, limit=limit),
        )
        return Json({"id": stored.id}, 201, headers={"Location": own.url_of(stored.id, stored.name)})

    return [
        guard.route("/runners/{token}/files/{file_id}/{name:path}", show, "GET", admits=Admits.ANYBODY),
        guard.route("/runners/{token}/uploads/{prediction_id}/{name}", store, "PUT", admits=Admits.ANYBODY),
    ]


def file_response(request: Request, file: StoredFile, files: FileStore) -> Response:
    """A file, or the part of it that is asked for.

    Raises:
        Refused: 416: there is no such part.
    """
    etag = f'"{file.sha256}"'
    headers = {
        **_SAFE,
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=3600, immutable",
        "Content-Disposition": _disposition(file),
        "Last-Modified": f"{file.created_at:%a, %d %b %Y %H:%M:%S} GMT",
    }
    if _matches(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    condition = request.headers.get("if-range")
    wanted = request.headers.get("range") if condition is None or condition == etag else None
    part = read_range(wanted, file.size) if request.method == "GET" else None
    start, stop = part if part is not None else (0, file.size)
    headers["Content-Length"] = str(stop - start)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{file.size}"
    if request.method == "HEAD":
        return Response(headers=headers, media_type=file.content_type)
    response = Stream(_content(files, file, start, stop), file.content_type, headers)
    response.status_code = 206 if part is not None else 200
    return response


async def _content(files: FileStore, file: StoredFile, start: int, stop: int) -> AsyncGenerator[bytes, None]:
    async for chunk in files.read(file, start=start, stop=stop):
        yield chunk


def _disposition(file: StoredFile) -> str:
    content_type = file.content_type.partition(";")[0].strip().lower()
    is_shown = content_type not in _NEVER_SHOWN and (content_type.startswith(_SHOWN_KINDS) or content_type in _SHOWN_TYPES)
    plain = file.name.encode("ascii", "replace").decode().translate({ord('"'): "_", ord("\\"): "_", 127: "_"})
    return (
        f"{'inline' if is_shown else 'attachment'}; filename=\"{plain}\"; filename*=UTF-8''{urllib.parse.quote(file.name, safe='')}"
    )


def _matches(header: str | None, etag: str) -> bool:
    if header is None:
        return False
    return any(part.strip().removeprefix("W/") in ("*", etag) for part in header.split(","))
