"""Errors as ``application/problem+json`` (RFC 9457), which every client prints."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from drivetrain.gateways.http.answer import Json
from drivetrain.gateways.http.refusal import headers_of, status_of
from drivetrain.gateways.replicate.bodies import InvalidBody
from drivetrain.model.errors import BadRequest, DrivetrainError
from drivetrain.model.examination import write_location
from drivetrain.model.inputs import InvalidInputs
from drivetrain.platform.submission import NotDeployed

_TITLES = {
    400: "Bad request",
    401: "Unauthenticated",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    413: "Request entity too large",
    415: "Unsupported media type",
    422: "Unprocessable entity",
    429: "Too many requests",
    500: "Internal server error",
    503: "Service unavailable",
    507: "Insufficient storage",
}


class Problem(Json):
    """An error in the shape that Replicate's clients read."""

    media_type = "application/problem+json"


class InvalidVersion(BadRequest):
    """A version that a prediction asks for does not exist, or is not the caller's to run: which of the two is not told."""

    code = "invalid_version"

    def __init__(self, version: str) -> None:
        super().__init__(
            f"the version '{version[:100]}' does not exist, or this key may not run it",
            hint="write a version's id, owner/name:id, or owner/name for the one that is deployed",
        )


def render_problem(error: DrivetrainError) -> Response:
    """The answer that tells of an error."""
    status = _status(error)
    content: dict[str, Any] = {"title": _title(error, status), "detail": _detail(error), "status": status, "code": error.code}
    if isinstance(error, InvalidInputs):
        content["invalid_fields"] = [
            {
                "type": problem.type,
                "field": write_location(("input", *problem.location)),
                "description": problem.message,
            }
            for problem in error.problems
        ]
    elif isinstance(error, InvalidBody):
        content["invalid_fields"] = [{"type": error.code, "field": error.field, "description": error.description}]
    return Problem(content, status_code=status, headers=headers_of(error))


def _status(error: DrivetrainError) -> int:
    # 409 would be tried again by the clients of the second Python generation, and a request that cannot be done stays one.
    if isinstance(error, (InvalidBody, InvalidVersion, NotDeployed)):
        return 422
    return status_of(error)


def _title(error: DrivetrainError, status: int) -> str:
    if isinstance(error, InvalidVersion):
        return "Invalid version or not permitted"
    if isinstance(error, (InvalidInputs, InvalidBody)):
        return "Input validation failed"
    return _TITLES.get(status, "Error")


def _detail(error: DrivetrainError) -> str:
    if isinstance(error, InvalidInputs):
        lines = [f"- input.{write_location(problem.location)}: {problem.message}" for problem in error.problems]
        return "\n".join([*lines, *([error.hint] if error.hint else [])])
    return f"{error.message} ({error.hint})" if error.hint else error.message
