"""Things of the platform as JSON. Times are RFC 3339 in UTC, durations are seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from enum import Enum
from typing import Any

from drivetrain.gateways.http.addresses import Addresses
from drivetrain.gateways.http.answer import Json
from drivetrain.gateways.http.refusal import headers_of, status_of
from drivetrain.model.errors import DrivetrainError, ProjectError
from drivetrain.model.inputs import InvalidInputs
from drivetrain.platform.app import App, Revision, RevisionId
from drivetrain.platform.delivery import Delivery
from drivetrain.platform.files import StoredFile
from drivetrain.platform.key import ApiKey, AuditLine
from drivetrain.platform.runners import RunnerView
from drivetrain.platform.secret import SealedSecret
from drivetrain.platform.view import PredictionView

PREFIX = "/api/v1"


def render_error(error: DrivetrainError) -> Json:
    """An error as every route of this API answers it."""
    return Json({"error": describe_error(error)}, status_of(error), headers=headers_of(error))


def describe_error(error: DrivetrainError) -> dict[str, Any]:
    """An error's facts."""
    described: dict[str, Any] = {"code": error.code, "message": error.message, "hint": error.hint}
    if error.detail:
        described["detail"] = error.detail
    if isinstance(error, InvalidInputs):
        described["problems"] = [
            {"location": list(problem.location), "message": problem.message, "type": problem.type} for problem in error.problems
        ]
    if isinstance(error, ProjectError) and error.findings:
        described["findings"] = [
            {
                "severity": finding.severity.value,
                "code": finding.code,
                "place": str(finding.place) if finding.place else None,
                "problem": finding.problem,
                "remedy": finding.remedy,
            }
            for finding in error.findings
        ]
    return described


def render_prediction(view: PredictionView, addresses: Addresses, origin: str, *, position: int | None = None) -> dict[str, Any]:
    """A prediction with its input, output and logs; files are signed URLs."""
    rendered = render_summary(view, origin)
    rendered |= {
        "input": addresses.with_file_urls(origin, view.submission.input),
        "output": addresses.with_file_urls(origin, view.output),
        "logs": view.logs,
    }
    if position is not None:
        rendered["queue_position"] = position
    return rendered


def render_summary(view: PredictionView, origin: str) -> dict[str, Any]:
    """A prediction without what went in and came out."""
    submission = view.submission
    url = f"{origin}{PREFIX}/predictions/{submission.id}"
    failure = view.failure
    return {
        "id": submission.id,
        "app": str(submission.app),
        "revision": submission.revision,
        "mode": submission.mode.value,
        "status": view.status.value,
        "error": {"message": failure.message, "traceback": failure.traceback} if failure is not None else None,
        "metrics": view.metrics,
        "created_at": submission.created_at,
        "started_at": view.started_at,
        "completed_at": view.completed_at,
        "predict_seconds": view.predict_seconds,
        "total_seconds": view.total_seconds,
        "attempt": view.attempt,
        "history": view.history,
        "cancel_requested": view.cancel_requested,
        "data_removed": view.data_removed,
        "streams": view.streams,
        "urls": {"get": url, "cancel": f"{url}/cancel", "events": f"{url}/events"},
    }


def render_app(app: App, numbers: Mapping[RevisionId, int], origin: str) -> dict[str, Any]:
    """An app.

    Args:
        numbers: Of the revisions that answer.
    """
    return {
        "name": str(app.name),
        "url": f"{origin}{PREFIX}/apps/{app.name}",
        "created_at": app.created_at,
        "access": app.access.value,
        "description": app.description,
        "labels": app.labels,
        "scaling": {field.name: plain(getattr(app.scaling, field.name)) for field in fields(app.scaling)},
        "resources": {field.name: getattr(app.resources, field.name) for field in fields(app.resources)},
        "alias": [
            {"revision": share.revision, "number": numbers.get(share.revision), "percent": share.percent} for share in app.alias
        ],
        "releases": app.releases,
    }


def render_revision(revision: Revision, *, whole: bool = False) -> dict[str, Any]:
    """A revision; ``whole`` with its API, signatures and logs."""
    rendered: dict[str, Any] = {
        "id": revision.id,
        "app": str(revision.app),
        "number": revision.number,
        "state": revision.state.value,
        "created_at": revision.created_at,
        "dialect": revision.dialect,
        "concurrency": revision.concurrency,
        "failure": revision.failure,
        "source": revision.source,
        "labels": {key: value for key, value in revision.labels.items() if key != "variables"},  # these are for the model alone
    }
    if whole:
        rendered |= {
            "schema": revision.schema,
            "signature": revision.signature.to_wire() if revision.signature is not None else None,
            "train_signature": revision.train_signature.to_wire() if revision.train_signature is not None else None,
            "logs": revision.logs,
        }
    return rendered


def render_runner(runner: RunnerView) -> dict[str, Any]:
    """A runner."""
    return {
        "id": runner.id,
        "app": str(runner.app),
        "revision": runner.revision,
        "state": runner.state.value,
        "slots": runner.slots,
        "busy": runner.busy,
        "served": runner.served,
        "gpus": runner.grant.gpus,
        "memory": runner.grant.memory,
        "cpus": runner.grant.cpus,
        "started_at": runner.started_at,
        "ready_at": runner.ready_at,
        "idle_since": runner.idle_since,
        "phases": runner.phases,
    }


def render_key(key: ApiKey) -> dict[str, Any]:
    """A key, of which only its last letters are known."""
    return {
        "id": key.id,
        "owner": key.owner,
        "scope": key.scope.value,
        "name": key.name,
        "hint": key.hint,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "requests_per_minute": key.requests_per_minute,
        "concurrency": key.concurrency,
    }


def render_secret(secret: SealedSecret) -> dict[str, Any]:
    """That there is a secret; never its value."""
    return {
        "owner": secret.owner,
        "app": str(secret.app) if secret.app is not None else None,
        "name": secret.name,
        "updated_at": secret.updated_at,
    }


def render_file(file: StoredFile, addresses: Addresses, origin: str) -> dict[str, Any]:
    """A file and where it can be read."""
    return {
        "id": file.id,
        "name": file.name,
        "content_type": file.content_type,
        "size": file.size,
        "sha256": file.sha256,
        "created_at": file.created_at,
        "expires_at": file.expires_at,
        "url": addresses.file_url(origin, file.id, file.name),
    }


def render_delivery(delivery: Delivery) -> dict[str, Any]:
    """A webhook's delivery."""
    return {
        "id": delivery.id,
        "prediction": delivery.prediction,
        "url": delivery.url,
        "event": delivery.event,
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "created_at": delivery.created_at,
        "next_at": delivery.next_at,
        "answer": delivery.answer,
    }


def render_audit_line(line: AuditLine) -> dict[str, Any]:
    """Who did what."""
    return {"at": line.at, "actor": line.actor, "action": line.action, "subject": line.subject, "detail": line.detail}


def plain(value: Any) -> Any:
    """A setting's value as JSON has it."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value.value if isinstance(value, Enum) else value
