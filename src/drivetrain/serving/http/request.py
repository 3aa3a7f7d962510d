"""What a client asks for in the body and headers of a request to run something."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec

from drivetrain.serving.http.exchange import Exchange, HttpError
from drivetrain.serving.server import PredictionRequest
from drivetrain.serving.webhooks import ALL_EVENTS, Webhook, WebhookEvent

#: Passed on to webhooks, so that a trace goes on there.
_TRACE_HEADERS = (b"traceparent", b"tracestate")

_WAIT = re.compile(r"wait\s*=\s*(\d{1,6})")
_URL = re.compile(r"https?://[^\s/]+", re.IGNORECASE)
_LONGEST_URL = 65536
_LONGEST_ID = 255

#: Of headers that are worth remembering what they mean.
_USUAL_LENGTH = 500


class _Ids:
    """Ids that nobody can guess: 128 random bits each, fetched from the kernel for many at a time."""

    def __init__(self) -> None:
        self._left: list[str] = []

    def new(self) -> str:
        if not self._left:
            digits = os.urandom(16 * 100).hex()
            self._left = [digits[start : start + 32] for start in range(0, len(digits), 32)]
        return self._left.pop()


_ids = _Ids()


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """How the client wants the answer.

    Attributes:
        is_stream: As server-sent events.
        wait: How long to wait for the end before answering with what is known; ``None`` waits for the end.
        is_minimal: Without repeating at the end of a stream what the stream has told (``return=minimal`` of RFC 7240).
    """

    is_stream: bool
    wait: timedelta | None
    is_minimal: bool = False


class ParsedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to run something.

    Attributes:
        request: For the model server.
        delivery: How to answer.
        webhook: Whom to notify.
        output_file_prefix: Where to upload output files, for this request alone.
        trace_headers: The trace that the request belongs to, as the headers say it.
    """

    request: PredictionRequest
    delivery: Delivery
    webhook: Webhook | None
    output_file_prefix: str | None
    trace_headers: Mapping[str, str]


def parse_request(exchange: Exchange, body: Any, url_id: str) -> ParsedRequest:
    """Read a request's body and headers.

    Args:
        exchange: For its headers.
        body: The JSON body; ``None`` if there is none.
        url_id: The id in the URL, or the empty string.

    Raises:
        HttpError: 422, with the place of what is wrong.
    """
    fields = {} if body is None else body
    if not isinstance(fields, dict):
        raise _invalid(["body"], "the body must be a JSON object")
    trace_headers = {name.decode(): value for name in _TRACE_HEADERS if (value := exchange.header(name)) and value.isascii()}
    return ParsedRequest(
        request=PredictionRequest(
            id=_id(fields, url_id),
            input=_object(fields, "input"),
            context=_context(fields),
            created_at=_time(fields.get("created_at")),
        ),
        delivery=parse_delivery(exchange),
        webhook=_webhook(fields, trace_headers),
        output_file_prefix=_url(fields, "output_file_prefix"),
        trace_headers=trace_headers,
    )


def parse_delivery(exchange: Exchange) -> Delivery:
    """Read how the client wants the answer: ``Accept`` and ``Prefer`` (RFC 7240), each a list."""
    accept, prefer = exchange.header(b"accept"), exchange.header(b"prefer")
    return _delivery(accept, prefer) if len(accept) + len(prefer) < _USUAL_LENGTH else _delivery.__wrapped__(accept, prefer)


@lru_cache(maxsize=64)  # clients say the same again and again
def _delivery(accept: str, prefer: str) -> Delivery:
    accepted = (part.partition(";")[0].strip().lower() for part in accept.split(","))
    preferences = [part.partition(";")[0].strip().lower() for part in prefer.split(",")]
    wait = next((match for preference in preferences if (match := _WAIT.fullmatch(preference))), None)
    if wait is not None:
        seconds: timedelta | None = timedelta(seconds=int(wait[1]))
    else:
        seconds = timedelta(0) if "respond-async" in preferences else None
    return Delivery(is_stream="text/event-stream" in accepted, is_minimal="return=minimal" in preferences, wait=seconds)


def _id(fields: dict[str, Any], url_id: str) -> str:
    body_id = fields.get("id")
    if body_id is not None and not isinstance(body_id, str):
        raise _invalid(["body", "id"], "must be a string")
    if url_id and body_id is not None and body_id != url_id:
        raise _invalid(["body", "id"], "prediction ID must match the ID supplied in the URL")
    chosen = url_id or body_id
    if chosen and len(chosen) > _LONGEST_ID:
        raise _invalid(["body", "id"], f"must not be longer than {_LONGEST_ID} characters")
    if chosen and not chosen.isprintable():  # it goes into logs and headers
        raise _invalid(["body", "id"], "must consist of printable characters")
    return chosen or _ids.new()


def _object(fields: dict[str, Any], name: str) -> dict[str, Any]:
    value = fields.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _invalid(["body", name], "must be an object")
    return value


def _context(fields: dict[str, Any]) -> dict[str, str]:
    context = _object(fields, "context")
    for key, value in context.items():
        if not isinstance(value, str):
            raise _invalid(["body", "context", key], "must be a string")
    return context


def _time(value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value.replace("Z", "+00:00"))
        return at if at.tzinfo is not None else at.astimezone()
    except (ValueError, OverflowError, AttributeError):
        raise _invalid(["body", "created_at"], "must be a time in ISO 8601") from None


def _url(fields: dict[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > _LONGEST_URL or not _URL.match(value):
        raise _invalid(["body", name], "must be an http or https URL")
    return value


def _webhook(fields: dict[str, Any], headers: Mapping[str, str]) -> Webhook | None:
    url = _url(fields, "webhook")
    events = _events(fields.get("webhook_events_filter"))
    if url is None:
        return None
    return Webhook(url=url, events=events, headers=headers)


def _events(value: Any) -> frozenset[WebhookEvent]:
    if value is None:
        return ALL_EVENTS
    known = [event.value for event in WebhookEvent]
    if not isinstance(value, list) or not all(isinstance(item, str) and item in known for item in value):
        raise _invalid(["body", "webhook_events_filter"], f"must be a list of some of {', '.join(known)}")
    return frozenset(map(WebhookEvent, value)) or ALL_EVENTS


def _invalid(location: list[str | int], message: str) -> HttpError:
    return HttpError(422, [{"loc": location, "msg": message, "type": "value_error"}])
