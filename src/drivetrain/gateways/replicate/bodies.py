"""Bodies of requests: what they may hold, as Replicate's published schema says it. Members it does not know are refused."""

from __future__ import annotations

import re
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request

from drivetrain.gateways.http.body import read_object
from drivetrain.model.errors import BadRequest
from drivetrain.platform.queue import WebhookOrder

#: Of this gateway, in stored webhook orders.
GATEWAY = "replicate"

_DEFAULT_EVENTS = frozenset({"output", "completed"})
_LONGEST_URL = 65536

Body = TypeVar("Body", bound=msgspec.Struct)
WebhookEvent = Literal["start", "output", "logs", "completed"]


class InvalidBody(BadRequest):
    """A request's body is not as the API describes it.

    Args:
        field: Which member, dotted; empty for the body itself.
    """

    code = "invalid_body"

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"{field}: {description}" if field else description)
        self.field = field
        self.description = description


class Notified(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What every body has that starts something."""

    input: dict[str, Any]
    webhook: str | None = None
    webhook_events_filter: list[WebhookEvent] | None = None
    webhook_completed: str | None = None

    def order(self) -> WebhookOrder | None:
        """Whom to notify.

        Raises:
            InvalidBody: The URL cannot be one.
        """
        if self.webhook:
            events = _DEFAULT_EVENTS if self.webhook_events_filter is None else frozenset[str](self.webhook_events_filter)
            return WebhookOrder(url=_url(self.webhook, "webhook"), events=events, gateway=GATEWAY) if events else None
        if self.webhook_completed:  # of the API's first year; some clients still offer it
            url = _url(self.webhook_completed, "webhook_completed")
            return WebhookOrder(url=url, events=frozenset({"completed"}), gateway=GATEWAY)
        return None


class PredictionBody(Notified, kw_only=True, forbid_unknown_fields=True):
    """``POST …/predictions``, where the path says what runs."""

    stream: bool | None = None


class VersionPredictionBody(PredictionBody, kw_only=True, forbid_unknown_fields=True):
    """``POST /predictions``."""

    version: str


class TrainingBody(Notified, kw_only=True, forbid_unknown_fields=True):
    """``POST /models/{owner}/{name}/versions/{id}/trainings``."""

    destination: str


class ModelBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """``POST /models``."""

    owner: str
    name: str
    visibility: Literal["public", "private"]
    hardware: str
    description: str | None = None
    github_url: str | None = None
    paper_url: str | None = None
    license_url: str | None = None
    cover_image_url: str | None = None


class ModelPatch(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """``PATCH /models/{owner}/{name}``."""

    description: str | None = None
    readme: str | None = None
    github_url: str | None = None
    paper_url: str | None = None
    license_url: str | None = None
    weights_url: str | None = None
    cover_image_url: str | None = None


class DeploymentBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """``POST /deployments``."""

    name: str
    model: str
    version: str
    hardware: str
    min_instances: int
    max_instances: int


class DeploymentPatch(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """``PATCH /deployments/{owner}/{name}``."""

    version: str | None = None
    hardware: str | None = None
    min_instances: int | None = None
    max_instances: int | None = None


async def read_body(request: Request, kind: type[Body]) -> Body:
    """A request's body as one of the kinds above.

    Raises:
        InvalidBody: It is none.
        Refused: It is not JSON, or too large.
    """
    try:
        return msgspec.convert(await read_object(request), kind)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from error


def _invalid(message: str) -> InvalidBody:
    """What msgspec says, in the API's words: ``Expected `str`, got `int` - at `$.version```."""
    described, _, place = message.partition(" - at ")
    field = place.strip("`").removeprefix("$").removeprefix(".")
    if match := re.fullmatch(r"Object missing required field `(.+)`", described):
        return InvalidBody(_join(field, match[1]), "is required")
    if match := re.fullmatch(r"Object contains unknown field `(.+)`", described):
        return InvalidBody(_join(field, match[1]), "is not a member of this request")
    return InvalidBody(field, described.replace("`", "'"))


def _join(*fields: str) -> str:
    return ".".join(filter(None, fields))


def _url(text: str, field: str) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and len(text) <= _LONGEST_URL
    except ValueError:
        usable = False
    if not usable or not text.isprintable() or " " in text:
        raise InvalidBody(field, f"'{text[:100]}' is not an http or https URL")
    return text
