"""What every route of this gateway works with."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from drivetrain.gateways.http.addresses import Addresses
from drivetrain.gateways.replicate.problem import InvalidVersion
from drivetrain.gateways.replicate.rendering import LABEL, Renderer, labels_of
from drivetrain.platform.access import Caller, NotFound
from drivetrain.platform.app import App, AppName, BadName, Revision, RevisionId
from drivetrain.platform.files import FileId
from drivetrain.platform.platform import Platform

_REVISION = re.compile(r"[0-9a-f]{64}", re.ASCII)
#: A file's URL as uploads answer it: it leads to what is known of the file, and clients give it as the file itself.
_FILE_PATH = re.compile(r"(?:/v1){0,2}/files/([A-Za-z0-9]{26})", re.ASCII)

#: So ends the name of the app that a deployment is, since a model of the same name may be there.
DEPLOYMENT_SUFFIX = ".deployment"


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is to run.

    Attributes:
        revision: ``None`` leaves it to the app's alias.
        labels: For rendering the prediction.
    """

    app: AppName
    revision: RevisionId | None = None
    labels: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Site:
    """The platform, and where it is on the web."""

    platform: Platform
    addresses: Addresses

    def renderer(self, request: Request) -> Renderer:
        """Renders for whoever asks."""
        return Renderer(self.addresses, self.addresses.origin(request))

    def own_file(self, request: Request) -> Callable[[str], FileId | None]:
        """Says which file of ours a URL in an input means."""
        origins = (self.addresses.origin(request), self.addresses.default_origin)

        def find(url: str) -> FileId | None:
            for origin in origins:
                if url.startswith(f"{origin}/") and (match := _FILE_PATH.fullmatch(url[len(origin) :].partition("?")[0])):
                    return FileId(match[1])
            return self.addresses.own_file(url)

        return find

    def target(self, caller: Caller, version: str) -> Target:
        """What a version names: its id, ``owner/name:id``, or ``owner/name``.

        Raises:
            InvalidVersion: Nothing that the caller may run.
        """
        name, _, revision_id = version.rpartition(":") if ":" in version else (version, "", "")
        try:
            if not revision_id and _REVISION.fullmatch(version):
                return target_of(self.platform.revision(caller, RevisionId(version)))
            app = self.platform.app(caller, AppName.parse(name))
            if not revision_id:
                return Target(app=app.name)
            revision = self.platform.revision(caller, RevisionId(revision_id))
        except (NotFound, BadName):
            raise InvalidVersion(version) from None
        if revision.app != app.name:
            raise InvalidVersion(version)
        return target_of(revision)

    def model(self, request: Request, caller: Caller) -> App:
        """The model that a path names.

        Raises:
            NotFound: There is none that the caller may know of.
        """
        owner, name = request.path_params["owner"], request.path_params["name"]
        try:
            app = self.platform.app(caller, AppName.parse(f"{owner}/{name}"))
        except (NotFound, BadName):
            app = None
        if app is None or is_deployment(app):
            raise NotFound("model", f"{owner}/{name}")
        return app

    def models(self, caller: Caller) -> list[App]:
        """The models that a caller may run."""
        return [app for app in self.platform.apps(caller) if not is_deployment(app)]

    def find_revision(self, revision_id: RevisionId) -> Revision | None:
        """A revision, if it is still there."""
        return self.platform.catalog.find_revision(revision_id)


def is_deployment(app: App) -> bool:
    """Whether an app is what this gateway made for a deployment."""
    return app.name.name.endswith(DEPLOYMENT_SUFFIX) and "deployment" in labels_of(app.labels)


def own_labels(**labels: Any) -> dict[str, Any]:
    """Labels of this gateway, to be kept with something."""
    return {LABEL: {key: value for key, value in labels.items() if value is not None}}


def target_of(revision: Revision) -> Target:
    """A revision to run."""
    return Target(app=revision.app, revision=revision.id)
