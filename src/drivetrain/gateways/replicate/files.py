"""Files that clients upload, to name them in inputs by their URLs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from starlette.requests import Request
from starlette.responses import Response

from drivetrain.gateways.http.answer import Json
from drivetrain.gateways.http.files import file_response
from drivetrain.gateways.http.guard import Admits
from drivetrain.gateways.http.refusal import Refused
from drivetrain.gateways.replicate.page import PAGE_SIZE, cursor_of, cut
from drivetrain.gateways.replicate.site import Site
from drivetrain.gateways.replicate.table import Entry
from drivetrain.gateways.replicate.upload_form import UploadForm
from drivetrain.platform.access import Caller, NotFound
from drivetrain.platform.files import FileId, Origin

_LONGEST_NAME = 255


class Files:
    """The routes of files."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def entries(self) -> Sequence[Entry]:
        """The routes."""
        return [
            Entry("/files", self.upload, "POST"),
            Entry("/files", self.list, "GET"),
            Entry("/files/{id}", self.get, "GET"),
            Entry("/files/{id}", self.delete, "DELETE"),
            Entry("/files/{id}/download", self.download, "GET", admits=Admits.ANYBODY),
        ]

    async def upload(self, request: Request, caller: Caller) -> Response:
        """``POST /files``."""
        form = await UploadForm.open(request, limit=self._site.platform.options.file_bytes)
        stored = await self._site.platform.upload(
            caller,
            name=_base_name(form.name),
            content_type=form.content_type,
            content=form.content(),
            metadata=form.metadata,
        )
        return Json(self._site.renderer(request).file(stored), 201)

    async def list(self, request: Request, caller: Caller) -> Response:
        """``GET /files``."""
        cursor = cursor_of(request.query_params)
        before = cursor.place if cursor is not None else None
        found = await self._site.platform.files.find(owner=caller.owner, origin=Origin.UPLOAD, before=before, limit=PAGE_SIZE + 1)
        items, page = cut(found, cursor, lambda stored: (stored.created_at, stored.id))
        renderer = self._site.renderer(request)
        results = [renderer.file(stored) for stored in items]
        # Files are only to be had in one direction.
        return Json(replace(page, results=results, previous=None).render(renderer.url("/files"), {}))

    async def get(self, request: Request, caller: Caller) -> Response:
        """``GET /files/{id}``: what is known of it, not its content."""
        return Json(self._site.renderer(request).file(await self._site.platform.file(caller, _id(request))))

    async def delete(self, request: Request, caller: Caller) -> Response:
        """``DELETE /files/{id}``."""
        await self._site.platform.remove_file(caller, _id(request))
        return Response(status_code=204)

    async def download(self, request: Request, _: Caller) -> Response:
        """``GET /files/{id}/download``: the content, for whoever was given a signed URL by the file's owner."""
        query = request.query_params
        owner = query.get("owner", "")
        expiry, signature = query.get("expiry", ""), query.get("signature", "").replace(" ", "+")  # a "+" that nobody quoted
        if not await self._site.platform.may_download(owner=owner, file_id=_id(request), expiry=expiry, signature=signature):
            raise Refused(403, "this URL has expired, or its signature is wrong")
        stored = await self._site.platform.files.get(_id(request))
        if stored is None or stored.owner != owner:
            raise NotFound("file", _id(request))
        return file_response(request, stored, self._site.platform.files)


def _id(request: Request) -> FileId:
    return FileId(request.path_params["id"])


def _base_name(name: str) -> str:
    """The last part of what the client calls the file, since some send whole paths."""
    last = PurePosixPath(name.replace("\\", "/")).name
    last = "".join(letter for letter in last if letter.isprintable())
    return last.encode()[-_LONGEST_NAME:].decode("utf-8", "ignore") if last not in ("", ".", "..") else "file"
