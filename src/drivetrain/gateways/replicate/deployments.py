"""Deployments: a version of a model with runners of its own, under a name of its own.

A deployment ``acme/x`` is the app ``acme/x.deployment``; its revisions are copies of the versions that it ran. What it is a
deployment of, and its release, stand in the app's labels.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from drivetrain.gateways.http.answer import Json
from drivetrain.gateways.http.guard import Admits
from drivetrain.gateways.replicate.bodies import DeploymentBody, DeploymentPatch, InvalidBody, PredictionBody, read_body
from drivetrain.gateways.replicate.hardware import read_sku
from drivetrain.gateways.replicate.page import cursor_of, select
from drivetrain.gateways.replicate.predictions import Predictions
from drivetrain.gateways.replicate.rendering import labels_of, write_time
from drivetrain.gateways.replicate.site import DEPLOYMENT_SUFFIX, Site, Target, is_deployment, own_labels
from drivetrain.gateways.replicate.table import Entry
from drivetrain.model.errors import BadRequest
from drivetrain.platform.access import Caller, NotFound
from drivetrain.platform.app import App, AppName, BadName, Revision, RevisionId, RevisionState, changed_scaling
from drivetrain.platform.key import Scope

#: What Replicate allows, and we have no reason to allow less of.
_MOST_INSTANCES = 1000


class Deployments:
    """The routes of deployments."""

    def __init__(self, site: Site, predictions: Predictions) -> None:
        self._site = site
        self._predictions = predictions
        self._turn = asyncio.Lock()  # releases are numbered one after the other

    def entries(self) -> Sequence[Entry]:
        """The routes."""
        deployment = "/deployments/{owner}/{name}"
        return [
            Entry("/deployments", self.list, "GET"),
            Entry("/deployments", self.create, "POST"),
            Entry(deployment, self.get, "GET"),
            Entry(deployment, self.change, "PATCH"),
            Entry(deployment, self.delete, "DELETE"),
            Entry(f"{deployment}/predictions", self.predict, "POST", admits=Admits.CALLERS),
        ]

    async def list(self, request: Request, caller: Caller) -> Response:
        """``GET /deployments``: the caller's own."""
        caller.require(Scope.CALL)
        apps = [app for app in self._site.platform.apps(caller) if is_deployment(app) and caller.owns(app.name.owner)]
        items, page = select(apps, cursor_of(request.query_params), lambda app: (_released_at(app), str(app.name)))
        results = [self._render(request, app) for app in items]
        return Json(replace(page, results=results).render(self._site.renderer(request).url("/deployments"), {}))

    async def create(self, request: Request, caller: Caller) -> Response:
        """``POST /deployments``."""
        body = await read_body(request, DeploymentBody)
        caller.require(Scope.DEPLOY)
        name = _app_name(caller.owner, body.name)
        async with self._turn:
            if self._site.platform.catalog.find_app(name) is not None:
                raise BadRequest(f"there is a deployment '{caller.owner}/{body.name}' already", hint="change it with PATCH")
            original = self._version(caller, body.version, body.model)
            blank = App(name=name, created_at=self._site.platform.clock.now(), description=f"Deployment of {original.app}")
            release = {
                **msgspec.to_builtins(body),
                "version": original.id,
                "number": 1,
                "deployment": f"{caller.owner}/{body.name}",
            }
            app = self._released(caller, blank, release)
            await self._site.platform.copy_revision(caller, original.id, name, new=app)
        return Json(self._render(request, self._site.platform.app(caller, name)))

    async def get(self, request: Request, caller: Caller) -> Response:
        """``GET /deployments/{owner}/{name}``."""
        return Json(self._render(request, self._find(request, caller)))

    async def change(self, request: Request, caller: Caller) -> Response:
        """``PATCH /deployments/{owner}/{name}``: a new release."""
        body = await read_body(request, DeploymentPatch)
        platform = self._site.platform
        async with self._turn:
            app = self._find(request, caller)
            before = labels_of(app.labels)
            given = {key: value for key, value in msgspec.to_builtins(body).items() if value is not None}
            if body.version is not None:
                given["version"] = self._version(caller, body.version, before["model"]).id

            def released(app: App) -> App:
                kept = labels_of(app.labels)
                instances = {"min_instances": app.scaling.min_runners, "max_instances": app.scaling.max_runners}
                return self._released(caller, app, {**instances, **kept, **given, "number": kept["number"] + 1})

            released(app)  # what is wrong is said before anything is done
            version = given.get("version", before["version"])
            if version != before["version"]:
                await platform.copy_revision(caller, version, app.name, released)
            else:
                await platform.change_app(caller, app.name, released)
        return Json(self._render(request, platform.app(caller, app.name)))

    async def delete(self, request: Request, caller: Caller) -> Response:
        """``DELETE /deployments/{owner}/{name}``: only one that nothing runs in."""
        app = self._find(request, caller)
        caller.require(Scope.DEPLOY, app.name.owner)
        if any(runner.app == app.name for runner in self._site.platform.runners(caller)):
            raise BadRequest(
                f"the deployment '{labels_of(app.labels)['deployment']}' has runners",
                hint="set min_instances and max_instances to 0, and delete it when they have ended",
            )
        await self._site.platform.remove_app(caller, app.name)
        return Response(status_code=204)

    async def predict(self, request: Request, caller: Caller) -> Response:
        """``POST /deployments/{owner}/{name}/predictions``."""
        body = await read_body(request, PredictionBody)
        app = self._find(request, caller)
        kept = labels_of(app.labels)
        labels = {key: kept[key] for key in ("model", "version", "deployment")}
        return await self._predictions.run(request, caller, Target(app=app.name, labels=labels), body)

    def _released(self, caller: Caller, app: App, release: Mapping[str, Any]) -> App:
        """The app as a release wants it."""
        least, most = _instances(release, "min_instances"), _instances(release, "max_instances")
        if least > most:
            raise InvalidBody("min_instances", f"is {least}, which is more than max_instances, {most}")
        labels = {
            **{key: release[key] for key in ("model", "version", "hardware", "number", "deployment")},
            "released_at": write_time(self._site.platform.clock.now()),
            "released_by": caller.owner,
        }
        return replace(
            app,
            scaling=changed_scaling(app.scaling, {"min_runners": least, "max_runners": most}),
            resources=read_sku(release["hardware"]),
            labels={**app.labels, **own_labels(**labels)},
        )

    def _find(self, request: Request, caller: Caller) -> App:
        owner, name = request.path_params["owner"], request.path_params["name"]
        try:
            app = self._site.platform.app(caller, _app_name(owner, name))
        except (NotFound, BadName):
            app = None
        if app is None or not is_deployment(app):
            raise NotFound("deployment", f"{owner}/{name}")
        return app

    def _version(self, caller: Caller, version: str, model: str) -> Revision:
        """The version to deploy, as its id or ``owner/name:id``."""
        try:
            revision = self._site.platform.revision(caller, RevisionId(version.rpartition(":")[2]))
        except NotFound:
            revision = None
        if revision is None or str(revision.app) != model:
            raise InvalidBody("version", f"the model '{model}' has no version '{version[:100]}'")
        if revision.state is not RevisionState.READY:
            raise InvalidBody("version", f"the version '{version[:100]}' is {revision.state.value}")
        return revision

    def _render(self, request: Request, app: App) -> dict[str, Any]:
        labels = labels_of(app.labels)
        owner, _, name = labels["deployment"].partition("/")
        return {
            "owner": owner,
            "name": name,
            "current_release": {
                "number": labels["number"],
                "model": labels["model"],
                "version": labels["version"],
                "created_at": labels["released_at"],
                "created_by": self._site.renderer(request).account(labels["released_by"]),
                "configuration": {
                    "hardware": labels["hardware"],
                    "min_instances": app.scaling.min_runners,
                    "max_instances": app.scaling.max_runners,
                },
            },
        }


def _app_name(owner: str, name: str) -> AppName:
    AppName.parse(f"{owner}/{name}")  # the suffix must not make a name of what is none
    return AppName.parse(f"{owner}/{name}{DEPLOYMENT_SUFFIX}")


def _released_at(app: App) -> datetime:
    return datetime.fromisoformat(labels_of(app.labels)["released_at"].replace("Z", "+00:00"))


def _instances(release: Mapping[str, Any], name: str) -> int:
    count: int = release[name]
    if not 0 <= count <= _MOST_INSTANCES:
        raise InvalidBody(name, f"must be from 0 to {_MOST_INSTANCES}")
    return count
