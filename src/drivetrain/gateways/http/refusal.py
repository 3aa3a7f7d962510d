"""Requests that are refused before a use case sees them, and which status any error becomes."""

from __future__ import annotations

from collections.abc import Mapping

from drivetrain.model.errors import BadRequest, DrivetrainError, InternalError, OutsideFailed, ProjectError
from drivetrain.model.inputs import InvalidInputs
from drivetrain.platform.access import Forbidden, NotFound, Unauthenticated
from drivetrain.platform.files import FileTooLarge, QuotaExceeded
from drivetrain.platform.limits import LimitExceeded
from drivetrain.platform.queue import KeyReused, QueueFull
from drivetrain.platform.submission import NotDeployed

#: The one table. An error is what its nearest ancestor in it says.
STATUSES: Mapping[type[DrivetrainError], int] = {
    BadRequest: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    NotDeployed: 409,
    FileTooLarge: 413,
    InvalidInputs: 422,
    ProjectError: 422,
    KeyReused: 422,
    LimitExceeded: 429,
    QueueFull: 429,
    InternalError: 500,
    OutsideFailed: 503,
    QuotaExceeded: 507,
    DrivetrainError: 500,
}

#: Where an error does not say when trying again makes sense. A full queue is seldom empty a moment later.
_RETRY_SECONDS: Mapping[int, int] = {429: 5, 503: 1}


class Refused(BadRequest):
    """HTTP itself was used wrongly.

    Args:
        status: The answer's.
        headers: Further ones of the answer.
    """

    code = "request_refused"

    def __init__(self, status: int, message: str, *, hint: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.headers = dict(headers or {})


def status_of(error: DrivetrainError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, Refused):
        return error.status
    return next(STATUSES[cls] for cls in type(error).__mro__ if cls in STATUSES)


def headers_of(error: DrivetrainError) -> dict[str, str]:
    """Headers that go with an error, whoever renders it."""
    headers = dict(error.headers) if isinstance(error, Refused) else {}
    status = status_of(error)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    seconds = error.retry_after if isinstance(error, LimitExceeded) else _RETRY_SECONDS.get(status)
    if seconds is not None:
        headers.setdefault("Retry-After", str(seconds))
    return headers
