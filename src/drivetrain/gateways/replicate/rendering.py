"""The platform's things as Replicate's objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from drivetrain.gateways.http.addresses import Addresses
from drivetrain.model.prediction import Status
from drivetrain.model.project import Mode
from drivetrain.platform.app import Access, App, Revision
from drivetrain.platform.deployment import id_of_copy, trained_variables
from drivetrain.platform.files import StoredFile
from drivetrain.platform.view import PredictionView

#: Where our own members are in the labels of apps, revisions and predictions.
LABEL = "replicate"

#: Versions from before Cog 0.3.9 have their lists taken for iterators, so a version of ours must not look like one of those.
COG_VERSION = "0.22.0"

#: The prefix by which the JavaScript client knows a stream of files.
FILE_STREAM_PATH = "/v1/files/streams"
TEXT_STREAM_PATH = "/v1/streams"


def write_time(at: datetime) -> str:
    """A time as RFC 3339 has it, in UTC, always with digits below the second: some clients' parsers want them."""
    return at.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True)
class Renderer:
    """Renders for one client.

    Args:
        addresses: Makes signed URLs.
        origin: What the client calls us.
    """

    addresses: Addresses
    origin: str

    def url(self, path: str) -> str:
        """A URL of the API."""
        return f"{self.origin}/v1{path}"

    def prediction(self, view: PredictionView, revision: Revision | None) -> dict[str, Any]:
        """A prediction, or a training.

        Args:
            view: As it is.
            revision: Which runs it; ``None`` if that has been removed since.
        """
        submission = view.submission
        labels = labels_of(submission.labels)
        content: dict[str, Any] = {
            "id": view.id,
            "model": labels.get("model", str(submission.app)),
            "version": labels.get("version", submission.revision),
            "input": {} if view.data_removed else self._with_urls(submission.input),
            "logs": _lines(view.logs),
            "output": None if view.data_removed else self._with_urls(_output(view, revision)),
            "data_removed": view.data_removed,
            "error": view.failure.message if view.failure is not None else None,
            "source": "api",
            "status": view.status.value,
            "created_at": write_time(submission.created_at),
            "urls": self._urls(view, revision),
        }
        if view.started_at is not None:
            content["started_at"] = write_time(view.started_at)
        if view.completed_at is not None:
            content["completed_at"] = write_time(view.completed_at)
        if submission.deadline is not None:
            content["deadline"] = write_time(submission.deadline)
        if deployment := labels.get("deployment"):
            content["deployment"] = deployment
        if view.status.is_terminal or view.metrics:
            content["metrics"] = _metrics(view)
        return content

    def accepted(self, view: PredictionView, revision: Revision | None) -> dict[str, Any]:
        """A prediction that has not ended, for whoever has just asked for it: as if nothing had happened yet.

        Clients that waited take every status but ``starting`` for the end, and those that poll for items begin after those
        that this answer holds: they would never see them.
        """
        content = self.prediction(view, revision)
        content.update(status=Status.STARTING.value, output=[] if view.streams else None, logs="")
        for name in ("started_at", "metrics"):
            content.pop(name, None)
        return content

    def model(self, app: App, latest: Revision | None, run_count: int) -> dict[str, Any]:
        """A model."""
        labels = labels_of(app.labels)
        return {
            "url": self.url(f"/models/{app.name}"),
            "owner": app.name.owner,
            "name": app.name.name,
            "description": app.description or None,
            "visibility": "private" if app.access is Access.PRIVATE else "public",
            "is_official": False,
            "github_url": labels.get("github_url"),
            "paper_url": labels.get("paper_url"),
            "license_url": labels.get("license_url"),
            "run_count": run_count,
            "cover_image_url": labels.get("cover_image_url"),
            "default_example": None,
            "latest_version": self.version(latest) if latest is not None else None,
            "created_at": write_time(app.created_at),
        }

    def version(self, revision: Revision) -> dict[str, Any]:
        """A version."""
        return {
            "id": revision.id,
            "created_at": write_time(revision.created_at),
            "cog_version": COG_VERSION,
            "openapi_schema": dict(revision.schema or {}),
        }

    def file(self, stored: StoredFile) -> dict[str, Any]:
        """An uploaded file."""
        return {
            "id": stored.id,
            "name": stored.name,
            "content_type": stored.content_type,
            "size": stored.size,
            "etag": stored.md5,
            "checksums": {"sha256": stored.sha256, "md5": stored.md5},
            "metadata": dict(stored.metadata),
            "created_at": write_time(stored.created_at),
            "expires_at": write_time(stored.expires_at) if stored.expires_at is not None else None,
            "urls": {"get": self.url(f"/files/{stored.id}")},
        }

    def account(self, owner: str) -> dict[str, Any]:
        """Whose key it is."""
        return {"type": "organization", "username": owner, "name": owner, "github_url": None, "avatar_url": None}

    def _with_urls(self, value: Any) -> Any:
        return self.addresses.with_file_urls(self.origin, value)

    def _urls(self, view: PredictionView, revision: Revision | None) -> dict[str, str]:
        kind = "trainings" if view.submission.mode is Mode.TRAIN else "predictions"
        get = self.url(f"/{kind}/{view.id}")
        urls = {"get": get, "cancel": f"{get}/cancel", "web": get}
        if view.streams and kind == "predictions":
            path = FILE_STREAM_PATH if revision is not None and gives_files(revision) else TEXT_STREAM_PATH
            urls["stream"] = self.addresses.signed_url(self.origin, f"{path}/{view.id}")
        return urls


def _output(view: PredictionView, revision: Revision | None) -> Any:
    """What clients get for output: nothing rather than an empty list until there is something, and what became of a training."""
    if view.streams and not view.output and not view.status.is_terminal:
        return None
    destination = view.submission.destination
    variables = trained_variables(view.output)
    if destination is None or variables is None or revision is None or view.status is not Status.SUCCEEDED:
        return view.output
    version = f"{destination}:{id_of_copy(destination, revision, variables)}"
    extra = view.output if isinstance(view.output, dict) else {"weights": view.output}
    return {**extra, "version": version}


def labels_of(labels: Mapping[str, Any]) -> Mapping[str, Any]:
    """What this gateway keeps in the labels of something."""
    own = labels.get(LABEL)
    return own if isinstance(own, Mapping) else {}


def gives_files(revision: Revision) -> bool:
    """Whether the items that a model gives are files."""
    output = _schema(revision, "Output")
    items = output.get("items")
    return isinstance(items, Mapping) and items.get("format") == "uri"


def _schema(revision: Revision, name: str) -> Mapping[str, Any]:
    value: Any = revision.schema or {}
    for key in ("components", "schemas", name):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _lines(logs: str) -> str:
    """Logs in lines: clients look for progress at their beginnings, and programs begin progress anew by going back to one."""
    return logs.replace("\r\n", "\n").replace("\r", "\n")


def _metrics(view: PredictionView) -> dict[str, Any]:
    metrics = dict(view.metrics)
    if view.predict_seconds is not None:
        metrics["predict_time"] = view.predict_seconds
    if view.total_seconds is not None:
        metrics["total_time"] = view.total_seconds
    return metrics
