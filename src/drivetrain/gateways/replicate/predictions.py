"""Predictions: create, get, list, cancel, stream."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from drivetrain.gateways.http.answer import Json, Stream
from drivetrain.gateways.http.guard import Admits
from drivetrain.gateways.http.refusal import Refused
from drivetrain.gateways.http.trace import trace_of
from drivetrain.gateways.replicate.bodies import InvalidBody, Notified, PredictionBody, VersionPredictionBody, read_body
from drivetrain.gateways.replicate.inlining import with_small_files
from drivetrain.gateways.replicate.page import PAGE_SIZE, cursor_of, cut
from drivetrain.gateways.replicate.preference import answer_within, read_cancel_after, read_wait
from drivetrain.gateways.replicate.rendering import FILE_STREAM_PATH, TEXT_STREAM_PATH, Renderer, labels_of
from drivetrain.gateways.replicate.site import Site, Target, own_labels
from drivetrain.gateways.replicate.stream import OutputEvents, read_place
from drivetrain.gateways.replicate.table import Entry
from drivetrain.model.prediction import PredictionId
from drivetrain.model.project import Mode
from drivetrain.platform.access import Caller
from drivetrain.platform.app import AppName
from drivetrain.platform.platform import Platform
from drivetrain.platform.queue import PredictionQuery
from drivetrain.platform.submission import PredictionRequest
from drivetrain.platform.view import PredictionView

_LONGEST_KEY = 255

#: Asked to cancel, most models obey at once; the answer then says that they did.
_CANCEL_WAIT = timedelta(seconds=2)


class Predictions:
    """The routes of predictions, and what trainings share with them."""

    def __init__(self, site: Site) -> None:
        self._site = site

    @property
    def _platform(self) -> Platform:
        return self._site.platform

    def entries(self) -> Sequence[Entry]:
        """The routes."""
        return [
            Entry("/predictions", self.create, "POST", admits=Admits.CALLERS),
            Entry("/predictions", self.list, "GET"),
            Entry("/predictions/{id}", self.get, "GET", admits=Admits.CALLERS),
            Entry("/predictions/{id}/cancel", self.cancel, "POST", admits=Admits.CALLERS),
            Entry("/models/{owner}/{name}/predictions", self.create_for_model, "POST", admits=Admits.CALLERS),
            *(
                Entry(f"{path.removeprefix('/v1')}/{{id}}", self.stream, "GET", admits=Admits.ANYBODY)
                for path in (FILE_STREAM_PATH, TEXT_STREAM_PATH)
            ),
        ]

    async def create(self, request: Request, caller: Caller) -> Response:
        """``POST /predictions``."""
        body = await read_body(request, VersionPredictionBody)
        return await self.run(request, caller, self._site.target(caller, body.version), body)

    async def create_for_model(self, request: Request, caller: Caller) -> Response:
        """``POST /models/{owner}/{name}/predictions``."""
        body = await read_body(request, PredictionBody)
        return await self.run(request, caller, Target(app=self._site.model(request, caller).name), body)

    async def run(
        self, request: Request, caller: Caller, target: Target, body: Notified, destination: AppName | None = None
    ) -> Response:
        """Have something run, and answer when it has ended or the client waits no longer.

        Args:
            destination: For a training: of which app its output becomes a revision.
        """
        mode = Mode.PREDICT if destination is None else Mode.TRAIN
        wait = read_wait(request.headers.get("prefer", "")) if mode is Mode.PREDICT else None
        labels = {**target.labels, "waited": True if wait is not None else None}
        order = PredictionRequest(
            app=target.app,
            revision=target.revision,
            mode=mode,
            input=body.input,
            cancel_after=read_cancel_after(request.headers.get("cancel-after")),
            webhook=body.order(),
            idempotency_key=_idempotency_key(request),
            fingerprint=_fingerprint(request, body),
            labels=own_labels(**labels),
            destination=destination,
            trace=trace_of(request),
            own_file=self._site.own_file(request),
        )
        view = await self._platform.predict(caller, order, wait=answer_within(wait) if wait is not None else None)
        headers = {"Preference-Applied": f"wait={wait.seconds}"} if wait is not None else {}
        if view.status.is_terminal:
            return Json(await self._render(request, view), 201, headers=headers)
        revision = self._site.find_revision(view.submission.revision)
        content = self._site.renderer(request).accepted(view, revision)
        return Json(content, 202 if wait is not None else 201, headers=headers)

    async def get(self, request: Request, caller: Caller) -> Response:
        """``GET /predictions/{id}``."""
        return Json(await self._render(request, await self._platform.prediction(caller, _id(request))))

    async def cancel(self, request: Request, caller: Caller) -> Response:
        """``POST /predictions/{id}/cancel``."""
        view = await self._platform.cancel(caller, _id(request))
        if not view.status.is_terminal:
            view = await self._platform.wait(caller, view.id, _CANCEL_WAIT)
        return Json(await self._render(request, view))

    async def list(self, request: Request, caller: Caller) -> Response:
        """``GET /predictions``."""
        return await self.list_mode(request, caller, Mode.PREDICT, "/predictions")

    async def list_mode(self, request: Request, caller: Caller, mode: Mode, path: str) -> Response:
        """A page of predictions or trainings, newest first."""
        cursor = cursor_of(request.query_params)
        query = PredictionQuery(
            mode=mode,
            before=cursor.place if cursor is not None and not cursor.is_back else None,
            after=cursor.place if cursor is not None and cursor.is_back else None,
            created_after=_time(request, "created_after"),
            created_before=_time(request, "created_before"),
            with_events=True,
            limit=PAGE_SIZE + 1,
        )
        # All that there is came through an API; what was made on Replicate's own pages is asked for by 'web'.
        found = await self._platform.predictions(caller, query) if request.query_params.get("source", "api") == "api" else []
        views, page = cut(found, cursor, lambda view: (view.submission.created_at, view.id))
        renderer = self._site.renderer(request)
        results = [renderer.prediction(view, self._site.find_revision(view.submission.revision)) for view in views]
        kept = {key: value for key, value in request.query_params.items() if key in ("created_after", "created_before", "source")}
        return Json(replace(page, results=results).render(renderer.url(path), kept))

    async def stream(self, request: Request, _: Caller) -> Response:
        """The output as it comes. The URL itself is the right to it: browsers send no key along."""
        if not self._site.addresses.is_signed(request):
            raise Refused(403, "this URL has expired, or its signature is wrong", hint="get the prediction: it has a new one")
        prediction_id = _id(request)
        reader = Caller(shown=prediction_id)
        await self._platform.prediction(reader, prediction_id)  # there must be one before the answer begins
        after = read_place(request.headers.get("last-event-id"))
        origin = self._site.addresses.origin(request)
        with_logs = request.query_params.get("logs", "").lower() in ("1", "true")
        events = OutputEvents(after, lambda value: self._site.addresses.with_file_urls(origin, value), with_logs=with_logs)
        return Stream(events.encode(self._platform.follow(reader, prediction_id, after=after)), "text/event-stream")

    async def render_webhook(self, view: PredictionView) -> dict[str, Any]:
        """The body of a webhook: what a client would get that asks for the prediction."""
        renderer = Renderer(self._site.addresses, self._site.addresses.default_origin)
        return renderer.prediction(view, self._site.find_revision(view.submission.revision))

    async def _render(self, request: Request, view: PredictionView) -> dict[str, Any]:
        renderer = self._site.renderer(request)
        waited = bool(labels_of(view.submission.labels).get("waited"))
        if waited and not renderer.origin.startswith("https:"):
            view = replace(view, output=await with_small_files(self._platform.files, view.output))
        return renderer.prediction(view, self._site.find_revision(view.submission.revision))


def _id(request: Request) -> PredictionId:
    return PredictionId(request.path_params["id"])


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= _LONGEST_KEY and key.isprintable()):
        raise Refused(422, f"an Idempotency-Key must have 1 to {_LONGEST_KEY} printable characters")
    return key


def _fingerprint(request: Request, body: msgspec.Struct) -> str:
    """Of what was asked; only made where a key may come with it a second time."""
    if "idempotency-key" not in request.headers:
        return ""
    path = re.sub(r"^(/v1)+", "", request.url.path)
    return hashlib.sha256(path.encode() + b"\0" + msgspec.json.encode(body, order="deterministic")).hexdigest()


def _time(request: Request, name: str) -> datetime | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text.replace("Z", "+00:00").replace(" ", "+"))
    except ValueError:
        raise InvalidBody(name, f"'{text[:100]}' is not a time in RFC 3339, such as 2026-01-31T12:00:00Z") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=timezone.utc)
