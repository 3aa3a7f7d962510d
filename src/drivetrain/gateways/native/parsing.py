"""What clients ask for: query, headers and bodies, each read strictly, with the place of what is wrong."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_type_hints

import msgspec
from starlette.requests import Request

from drivetrain.gateways.http.body import read_json
from drivetrain.gateways.http.refusal import Refused
from drivetrain.platform.app import Access, AppName, Resources, Scaling

T = TypeVar("T")

#: No request is held longer, whatever it asks for; a client that wants more asks again.
LONGEST_WAIT = timedelta(minutes=10)

#: Of a number in a query. Python reads no number of thousands of them.
_MOST_DIGITS = 12

#: What ``Resources`` says of each field, and what JSON and a query say.
_RESOURCE_TYPES: Mapping[str, Any] = {"gpus": int, "memory": int | None, "cpus": float}
_MOST: Mapping[str, int] = {"gpus": 1024, "memory": 2**50, "cpus": 65_536}
_SCALING_TYPES = get_type_hints(Scaling)


class Body(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A JSON object with these members and no others."""


class NewPrediction(Body):
    """A prediction to run."""

    input: dict[str, Any] = {}
    revision: str | None = None
    mode: Literal["predict", "train"] = "predict"
    context: dict[str, str] = {}
    priority: Literal["normal", "low"] = "normal"
    start_within: float | None = None
    cancel_after: float | None = None
    webhook: str | None = None
    webhook_events_filter: list[Literal["start", "output", "logs", "completed"]] | None = None


class AppChangeBody(Body):
    """Settings to change; what is not there stays as it is."""

    scaling: dict[str, Any] | None = None
    resources: dict[str, Any] | None = None
    access: Access | None = None
    description: str | None = None
    labels: dict[str, Any] | None = None


class RollbackBody(Body):
    """Which revision is to answer."""

    revision: str | None = None


class ShareBody(Body):
    """A revision's part."""

    revision: str
    percent: int


class SplitBody(Body):
    """Which revisions are to answer, each how much."""

    shares: list[ShareBody]


class SecretBody(Body):
    """A secret's value."""

    value: str


class NewKey(Body):
    """A key to make. ``expires_in`` counts seconds."""

    owner: str | None = None
    scope: Literal["call", "deploy", "admin"] = "call"
    name: str = ""
    expires_in: float | None = None
    requests_per_minute: int | None = None
    concurrency: int | None = None


async def read_body(request: Request, form: type[T]) -> T:
    """The body as one of the forms above; an empty one where there is no body.

    Raises:
        Refused: It does not fit.
    """
    value = await read_json(request)
    body: T = convert({} if value is None else value, form, "the body")
    return body


def convert(value: Any, form: Any, what: str, *, from_text: bool = False) -> Any:
    """A JSON value as a type.

    Args:
        what: Named in the error.
        from_text: Whether texts may stand for numbers and booleans, as in a query.

    Raises:
        Refused: 422: it does not fit.
    """
    try:
        return msgspec.convert(value, form, strict=not from_text)
    except msgspec.ValidationError as error:
        raise Refused(422, f"{what} cannot be used: {error}".replace(" - at `$.", " - at `").replace("`$`", "`it`")) from None


def app_name(request: Request) -> AppName:
    """The app in a path.

    Raises:
        BadName: It cannot be one.
    """
    return AppName.parse(f"{request.path_params['owner']}/{request.path_params['name']}")


def flag(request: Request, name: str) -> bool:
    """A switch in the query: ``?name``, ``?name=true``, ``?name=1``."""
    text = request.query_params.get(name, "false").lower()
    if text in ("", "true", "1", "yes"):
        return True
    if text in ("false", "0", "no"):
        return False
    raise Refused(422, f"'{name}' in the query must be true or false, not '{text}'")


def number(request: Request, name: str, *, default: int, most: int) -> int:
    """A number in the query, from 1 to ``most``."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS and 1 <= int(text) <= most):
        raise Refused(422, f"'{name}' in the query must be a number from 1 to {most}, not '{text[:40]}'")
    return int(text)


def wait_of(request: Request) -> timedelta | None:
    """How long a client wants to wait for a prediction's end: ``?wait=SECONDS``; a bare ``?wait`` is as long as it may."""
    text = request.query_params.get("wait")
    if text is None:
        return None
    if text == "":
        return LONGEST_WAIT
    return min(seconds(_float(text, "'wait' in the query"), "'wait' in the query"), LONGEST_WAIT)


def moment(request: Request, name: str) -> datetime | None:
    """A time in the query, in ISO 8601."""
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise Refused(422, f"'{name}' in the query must be a time in ISO 8601, not '{text[:60]}'") from None
    if at.tzinfo is None:
        raise Refused(422, f"'{name}' in the query must say its time zone, as in '2026-01-31T12:00:00Z'")
    return at


def seconds(value: float, what: str) -> timedelta:
    """A number of seconds as a duration.

    Raises:
        Refused: 422: it is negative, or no number.
    """
    if not math.isfinite(value) or value < 0 or value > 10 * 365 * 86400:
        raise Refused(422, f"{what} must be a number of seconds, not '{value}'")
    return timedelta(seconds=value)


def scaling_of(values: Mapping[str, Any], *, from_text: bool = False) -> dict[str, Any]:
    """Scaling settings by their names; durations are seconds. Names that are no settings are left for the platform to refuse."""
    return {name: _setting(name, value, _SCALING_TYPES.get(name), from_text=from_text) for name, value in values.items()}


def resources_of(values: Mapping[str, Any], before: Resources, *, from_text: bool = False) -> Resources:
    """Resources with some changed."""
    unknown = sorted(set(values) - set(_RESOURCE_TYPES))
    if unknown:
        raise Refused(422, f"'{unknown[0]}' is no resource", hint=f"there are {', '.join(_RESOURCE_TYPES)}")
    given = {name: _setting(name, value, _RESOURCE_TYPES[name], from_text=from_text) for name, value in values.items()}
    wanted = {"gpus": before.gpus, "memory": before.memory, "cpus": before.cpus, **given}
    for name, value in wanted.items():
        if value is not None and not 0 <= value <= _MOST[name]:  # which no NaN is
            raise Refused(422, f"'{name}' must be from 0 to {_MOST[name]}")
    return Resources(**wanted)


def is_setting(name: str) -> bool:
    """Whether a word names a scaling setting."""
    return name in _SCALING_TYPES


def is_resource(name: str) -> bool:
    """Whether a word names a resource."""
    return name in _RESOURCE_TYPES


def write_cursor(created_at: datetime, identifier: str) -> str:
    """Where a page ends, as an opaque text."""
    return base64.urlsafe_b64encode(f"{created_at.isoformat()} {identifier}".encode()).decode().rstrip("=")


def read_cursor(text: str | None) -> tuple[datetime, str] | None:
    """Where the page before ended.

    Raises:
        Refused: It is none of ours.
    """
    if text is None:
        return None
    try:
        at, _, identifier = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().partition(" ")
        created_at = datetime.fromisoformat(at)
        if created_at.tzinfo is None:
            raise ValueError("it has no time zone")
    except (binascii.Error, ValueError):
        raise Refused(422, "'cursor' in the query is none of ours", hint="take it from 'next' of the page before") from None
    return created_at, identifier


def _setting(name: str, value: Any, hint: Any, *, from_text: bool) -> Any:
    if hint is None:
        return value
    options = get_args(hint) or (hint,)
    if from_text and value == "none" and NoneType in options:
        return None
    if timedelta not in options:
        return convert(value, hint, f"'{name}'", from_text=from_text)
    read = convert(value, float | None if NoneType in options else float, f"'{name}'", from_text=from_text)
    return seconds(read, f"'{name}'") if read is not None else None


def _float(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Refused(422, f"{what} must be a number of seconds, not '{text[:40]}'") from None
