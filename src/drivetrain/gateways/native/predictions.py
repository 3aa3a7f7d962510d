"""Routes for predictions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from drivetrain.gateways.http.addresses import Addresses
from drivetrain.gateways.http.answer import STREAM_COMMENT, Json, Stream, server_sent_event, while_connected
from drivetrain.gateways.http.guard import Admits, Guard
from drivetrain.gateways.http.refusal import Refused
from drivetrain.gateways.http.trace import trace_of
from drivetrain.gateways.native.parsing import (
    NewPrediction,
    app_name,
    moment,
    number,
    read_body,
    read_cursor,
    seconds,
    wait_of,
    write_cursor,
)
from drivetrain.gateways.native.rendering import PREFIX, render_prediction, render_summary
from drivetrain.model.prediction import Completed, Log, Metric, Output, PredictionId, Started, Status
from drivetrain.model.project import Mode
from drivetrain.platform.access import Caller
from drivetrain.platform.app import AppName, RevisionId
from drivetrain.platform.hub import Numbered
from drivetrain.platform.platform import Platform
from drivetrain.platform.queue import PredictionQuery, Priority, WebhookOrder
from drivetrain.platform.submission import PredictionRequest
from drivetrain.platform.view import PredictionView

NAME = "native"

_PLACE = re.compile(r"(\d{1,9})\.(\d{1,12})", re.ASCII)
_URL = re.compile(r"https?://[^\s/]+", re.IGNORECASE)
_LONGEST_URL = 4096
#: So much is encoded for a reader at once, or one event if that is more: one who does not read costs no more.
_LARGEST_CHUNK_BYTES = 256 * 1024
_LONGEST_KEY = 255
_PRIORITIES = {"low": Priority.LOW, "normal": Priority.NORMAL}
_ALL_EVENTS = frozenset({"start", "output", "logs", "completed"})


class Predictions:
    """Everything about predictions."""

    def __init__(self, platform: Platform, addresses: Addresses) -> None:
        self._platform = platform
        self._addresses = addresses

    def routes(self, guard: Guard) -> Sequence[BaseRoute]:
        """The routes; the busiest ones first."""
        base, one = f"{PREFIX}/predictions", PREFIX + "/predictions/{id}"
        return [
            guard.route(PREFIX + "/apps/{owner}/{name}/predictions", self.create, "POST", admits=Admits.CALLERS),
            guard.route(one, self.show, "GET", admits=Admits.CALLERS),
            guard.route(f"{one}/events", self.follow, "GET", admits=Admits.CALLERS),
            guard.route(f"{one}/cancel", self.cancel, "POST", admits=Admits.CALLERS),
            guard.route(base, self.list, "GET"),
        ]

    async def create(self, request: Request, caller: Caller) -> Response:
        """Accept a prediction; with ``?wait=``, answer when it has ended or the time is up."""
        body = await read_body(request, NewPrediction)
        wait = wait_of(request)
        asking = self._platform.predict(caller, self._request(request, body), wait=wait)
        view = await (while_connected(request, asking, cancels=False) if wait else asking)
        return await self._respond(request, caller, view, 201 if view.status.is_terminal else 202)

    async def show(self, request: Request, caller: Caller) -> Response:
        """A prediction as it is; with ``?wait=``, when it has ended or the time is up."""
        prediction_id = _id(request)
        wait = wait_of(request)
        if wait:
            view = await while_connected(request, self._platform.wait(caller, prediction_id, wait))
        else:
            view = await self._platform.prediction(caller, prediction_id)
        return await self._respond(request, caller, view, 200)

    async def cancel(self, request: Request, caller: Caller) -> Response:
        """Cancel a prediction; one that has ended stays as it is."""
        return await self._respond(request, caller, await self._platform.cancel(caller, _id(request)), 200)

    async def list(self, request: Request, caller: Caller) -> Response:
        """Predictions, newest first, without what went in and came out."""
        query = _query(request)
        views = await self._platform.predictions(caller, query)
        origin = self._addresses.origin(request)
        last = views[-1] if len(views) == query.limit else None
        following = write_cursor(last.submission.created_at, last.id) if last is not None else None
        return Json({"results": [render_summary(view, origin) for view in views], "next": following})

    async def follow(self, request: Request, caller: Caller) -> Response:
        """What happens to a prediction, as server-sent events from the first on, until it has ended."""
        prediction_id = _id(request)
        after = _place(request)
        await self._platform.prediction(caller, prediction_id)  # says what is wrong before the stream begins
        return Stream(self._events(caller, prediction_id, after, self._addresses.origin(request)), "text/event-stream")

    async def render(self, view: PredictionView) -> dict[str, Any]:
        """The body of a webhook."""
        return render_prediction(view, self._addresses, self._addresses.default_origin)

    async def _respond(self, request: Request, caller: Caller, view: PredictionView, status: int) -> Response:
        position = None
        if view.status is Status.STARTING:
            position = await self._platform.position(caller, view.id)
        origin = self._addresses.origin(request)
        body = render_prediction(view, self._addresses, origin, position=position)
        return Json(body, status, headers={"Location": body["urls"]["get"]} if status in (201, 202) else None)

    def _request(self, request: Request, body: NewPrediction) -> PredictionRequest:
        key = request.headers.get("idempotency-key")
        if key is not None and not 1 <= len(key) <= _LONGEST_KEY:
            raise Refused(422, f"the Idempotency-Key must have from 1 to {_LONGEST_KEY} characters")
        return PredictionRequest(
            app=app_name(request),
            input=body.input,
            revision=RevisionId(body.revision) if body.revision is not None else None,
            mode=Mode(body.mode),
            context=body.context,
            priority=_PRIORITIES[body.priority],
            start_within=_duration(body.start_within, "'start_within'"),
            cancel_after=_duration(body.cancel_after, "'cancel_after'"),
            webhook=_webhook(body),
            idempotency_key=key,
            fingerprint=_fingerprint(request, body) if key is not None else "",
            trace=trace_of(request),
            own_file=self._addresses.own_file,
        )

    async def _events(
        self, caller: Caller, prediction_id: PredictionId, after: tuple[int, int] | None, origin: str
    ) -> AsyncGenerator[bytes, None]:
        attempt = after[0] if after is not None else 0
        has_ended = False
        yield b": prediction %s\n\n" % prediction_id.encode()
        async for batch in self._platform.follow(caller, prediction_id, after=after):
            chunk = bytearray()
            for numbered in batch:
                if numbered.attempt != attempt:
                    if attempt:
                        chunk += server_sent_event("restarted", {"attempt": numbered.attempt})
                    attempt = numbered.attempt
                if isinstance(numbered.event, Completed):
                    has_ended = True
                    view = await self._platform.prediction(caller, prediction_id)
                    chunk += server_sent_event("completed", render_summary(view, origin), event_id=_place_text(numbered))
                else:
                    chunk += self._event(numbered, origin)
                if len(chunk) > _LARGEST_CHUNK_BYTES:
                    yield bytes(chunk)
                    chunk.clear()
            if chunk or not batch:
                yield bytes(chunk) or STREAM_COMMENT
        if not has_ended:  # it ended before it ran, or what happened is no longer kept
            view = await self._platform.prediction(caller, prediction_id)
            if view.status.is_terminal:
                yield server_sent_event("completed", render_summary(view, origin))

    def _event(self, numbered: Numbered, origin: str) -> bytes:
        place = _place_text(numbered)
        match numbered.event:
            case Started(at=at):
                return server_sent_event("start", {"at": at, "attempt": numbered.attempt}, event_id=place)
            case Output(output=output):
                value = self._addresses.with_file_urls(origin, output.value)
                return server_sent_event("output", {"value": value}, event_id=place)
            case Log(source=source, data=data):
                return server_sent_event("log", {"source": source.value, "data": data}, event_id=place)
            case Metric(name=name, value=value, mode=mode):
                return server_sent_event("metric", {"name": name, "value": value, "mode": mode.value}, event_id=place)
        raise AssertionError(numbered.event)


def _id(request: Request) -> PredictionId:
    return PredictionId(request.path_params["id"])


def _place(request: Request) -> tuple[int, int] | None:
    """After which event a client wants to continue."""
    text = request.headers.get("last-event-id") or request.query_params.get("after")
    if text is None:
        return None
    match = _PLACE.fullmatch(text)
    if match is None:
        raise Refused(422, f"'{text[:40]}' is no event's id", hint="they look like 1.17")
    return int(match[1]), int(match[2])


def _place_text(numbered: Numbered) -> str:
    return f"{numbered.attempt}.{numbered.number}"


def _query(request: Request) -> PredictionQuery:
    app = request.query_params.get("app")
    revision = request.query_params.get("revision")
    mode = request.query_params.get("mode")
    try:
        statuses = frozenset(map(Status, request.query_params.getlist("status")))
        wanted_mode = Mode(mode) if mode is not None else None
    except ValueError as error:
        raise Refused(422, f"the query cannot be used: {error}") from None
    return PredictionQuery(
        app=AppName.parse(app) if app is not None else None,
        revision=RevisionId(revision) if revision is not None else None,
        mode=wanted_mode,
        statuses=statuses,
        before=read_cursor(request.query_params.get("cursor")),
        created_after=moment(request, "created_after"),
        created_before=moment(request, "created_before"),
        limit=number(request, "limit", default=100, most=1000),
    )


def _duration(value: float | None, what: str) -> timedelta | None:
    return seconds(value, what) if value is not None else None


def _webhook(body: NewPrediction) -> WebhookOrder | None:
    if body.webhook is None:
        return None
    if len(body.webhook) > _LONGEST_URL or not _URL.match(body.webhook):
        raise Refused(422, f"'webhook' must be an http or https URL, not '{body.webhook[:100]}'")
    events = frozenset(body.webhook_events_filter) if body.webhook_events_filter is not None else _ALL_EVENTS
    return WebhookOrder(url=body.webhook, events=events or _ALL_EVENTS, gateway=NAME)


def _fingerprint(request: Request, body: NewPrediction) -> str:
    content = msgspec.json.encode(body, order="deterministic")
    return hashlib.sha256(request.url.path.encode() + b"\0" + content).hexdigest()
