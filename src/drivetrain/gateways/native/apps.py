"""Routes for apps, their revisions, and deploying."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from drivetrain.gateways.http.addresses import Addresses
from drivetrain.gateways.http.answer import Json, Stream, json_line, with_signs_of_life
from drivetrain.gateways.http.body import body_chunks
from drivetrain.gateways.http.guard import Guard
from drivetrain.gateways.http.refusal import Refused
from drivetrain.gateways.native.parsing import (
    AppChangeBody,
    RollbackBody,
    SplitBody,
    app_name,
    convert,
    flag,
    is_resource,
    is_setting,
    number,
    read_body,
    resources_of,
    scaling_of,
)
from drivetrain.gateways.native.rendering import PREFIX, describe_error, render_app, render_revision
from drivetrain.model.errors import DrivetrainError, InternalError
from drivetrain.platform.access import Caller
from drivetrain.platform.app import Access, App, AppName, Resources, Revision, RevisionId, Share
from drivetrain.platform.deploy_event import Deployed, DeployEvent, DeployOrder, Noticed, Said, StepBegun, Strategy
from drivetrain.platform.platform import AppChange, Platform
from drivetrain.platform.queue import Load

#: So often a stream of a deployment that has nothing to tell sends an empty line, so that nobody on the way gives it up.
_SIGN_SECONDS = 15.0

_DEPLOY_WORDS = frozenset({"strategy", "strict", "access", "message"})


class Apps:
    """Everything about apps."""

    def __init__(self, platform: Platform, addresses: Addresses) -> None:
        self._platform = platform
        self._addresses = addresses

    def routes(self, guard: Guard) -> Sequence[BaseRoute]:
        """The routes."""
        one = PREFIX + "/apps/{owner}/{name}"
        revision = PREFIX + "/revisions/{id}"
        return [
            guard.route(f"{PREFIX}/apps", self.list, "GET"),
            guard.route(one, self.show, "GET"),
            guard.route(one, self.change, "PATCH"),
            guard.route(one, self.remove, "DELETE"),
            guard.route(f"{one}/source", self.deploy, "PUT"),
            guard.route(f"{one}/revisions", self.revisions, "GET"),
            guard.route(f"{one}/rollback", self.roll_back, "POST"),
            guard.route(f"{one}/split", self.split, "PUT"),
            guard.route(f"{one}/logs", self.logs, "GET"),
            guard.route(revision, self.revision, "GET"),
            guard.route(revision, self.remove_revision, "DELETE"),
        ]

    async def list(self, request: Request, caller: Caller) -> Response:
        """The apps that the caller may call."""
        loads = await self._platform.load(caller)
        return Json({"results": [self._render(request, caller, app, loads) for app in self._platform.apps(caller)]})

    async def show(self, request: Request, caller: Caller) -> Response:
        """An app, and the revision that most of its requests go to."""
        app = self._platform.app(caller, app_name(request))
        rendered = self._render(request, caller, app, await self._platform.load(caller))
        latest = self._platform.catalog.latest(app)
        return Json(rendered | {"latest": render_revision(latest, whole=True) if latest is not None else None})

    async def change(self, request: Request, caller: Caller) -> Response:
        """Change an app's settings, at once and without a new revision."""
        name = app_name(request)
        body = await read_body(request, AppChangeBody)
        before = self._platform.app(caller, name)
        change = AppChange(
            scaling=scaling_of(body.scaling) if body.scaling is not None else None,
            resources=resources_of(body.resources, before.resources) if body.resources is not None else None,
            access=body.access,
            description=body.description,
            labels=body.labels,
        )
        return await self._respond(request, caller, await self._platform.change_app(caller, name, change))

    async def remove(self, request: Request, caller: Caller) -> Response:
        """Take an app out of service and forget it."""
        await self._platform.remove_app(caller, app_name(request))
        return Response(status_code=204)

    async def deploy(self, request: Request, caller: Caller) -> Response:
        """Deploy the project in the body, a tar archive, plain or compressed by gzip. What happens is told in lines of JSON."""
        order = _order(request, app_name(request), self._platform)
        body_read = asyncio.Event()
        events = self._platform.deploy(caller, order, self._archive(request, body_read))
        first = await anext(aiter(events))  # who may not deploy is told before the stream begins
        lines = with_signs_of_life(self._lines(request, caller, first, events), b"\n", seconds=_SIGN_SECONDS)
        return Stream(lines, "application/x-ndjson", body_read=body_read)

    async def revisions(self, request: Request, caller: Caller) -> Response:
        """An app's revisions, newest first."""
        found = self._platform.revisions(caller, app_name(request))
        return Json({"results": [render_revision(revision) for revision in found]})

    async def revision(self, request: Request, caller: Caller) -> Response:
        """A revision with its API and what its deployment wrote."""
        revision = self._platform.revision(caller, RevisionId(request.path_params["id"]))
        return Json(render_revision(revision, whole=True))

    async def remove_revision(self, request: Request, caller: Caller) -> Response:
        """Forget a revision that answers no requests."""
        await self._platform.remove_revision(caller, RevisionId(request.path_params["id"]))
        return Response(status_code=204)

    async def roll_back(self, request: Request, caller: Caller) -> Response:
        """Let the revision before answer again, or the one that is named."""
        body = await read_body(request, RollbackBody)
        wanted = RevisionId(body.revision) if body.revision is not None else None
        return await self._respond(request, caller, await self._platform.roll_back(caller, app_name(request), wanted))

    async def split(self, request: Request, caller: Caller) -> Response:
        """Share an app's requests between revisions."""
        body = await read_body(request, SplitBody)
        shares = [Share(revision=RevisionId(share.revision), percent=share.percent) for share in body.shares]
        return await self._respond(request, caller, await self._platform.split(caller, app_name(request), shares))

    async def logs(self, request: Request, caller: Caller) -> Response:
        """What an app's runners write outside of predictions; with ``?follow``, whatever comes too."""
        lines = number(request, "lines", default=100, most=100_000)
        texts = self._platform.log(caller, app_name(request), follows=flag(request, "follow"), lines=lines)
        return Stream(_encoded(texts), "text/plain")

    async def _respond(self, request: Request, caller: Caller, app: App) -> Response:
        return Json(self._render(request, caller, app, await self._platform.load(caller)))

    def _render(self, request: Request, caller: Caller, app: App, loads: dict[RevisionId, Load]) -> dict[str, Any]:
        revisions = self._platform.catalog.revisions(app.name)
        rendered = render_app(app, {revision.id: revision.number for revision in revisions}, self._addresses.origin(request))
        if caller.owns(app.name.owner):
            rendered |= self._work(caller, app, revisions, loads)
        return rendered

    def _work(self, caller: Caller, app: App, revisions: Sequence[Revision], loads: dict[RevisionId, Load]) -> dict[str, Any]:
        """What an app's owner sees of its runners and its queue."""
        own = [loads[revision.id] for revision in revisions if revision.id in loads]
        runners = Counter(runner.state.value for runner in self._platform.runners(caller) if runner.app == app.name)
        return {
            "runners": dict(runners),
            "waiting": sum(load.waiting for load in own),
            "running": sum(load.running for load in own),
            "unplaced": self._platform.unplaced(caller).get(app.name),
        }

    async def _archive(self, request: Request, body_read: asyncio.Event) -> AsyncIterator[bytes]:
        try:
            async for chunk in body_chunks(request, limit=self._platform.options.archive_bytes):
                yield chunk
        finally:
            body_read.set()

    async def _lines(
        self, request: Request, caller: Caller, first: DeployEvent, events: AsyncIterator[DeployEvent]
    ) -> AsyncGenerator[bytes, None]:
        try:
            yield json_line(self._line(request, caller, first))
            async for event in events:
                yield json_line(self._line(request, caller, event))
        except DrivetrainError as error:
            yield json_line({"event": "error", "error": describe_error(error)})
        except Exception:
            bug = InternalError("the platform met a bug of its own; its log says more")
            yield json_line({"event": "error", "error": describe_error(bug)})
            raise
        finally:
            if isinstance(events, AsyncGenerator):
                await events.aclose()

    def _line(self, request: Request, caller: Caller, event: DeployEvent) -> dict[str, Any]:
        match event:
            case StepBegun(step=step):
                return {"event": "step", "step": step.value}
            case Said(step=step, text=text):
                return {"event": "log", "step": step.value, "text": text}
            case Noticed():
                return {"event": "notice", "severity": event.severity, "message": event.message, "remedy": event.remedy}
            case Deployed():
                return {
                    "event": "deployed",
                    "app": self._render(request, caller, event.app, {}),
                    "revision": render_revision(event.revision, whole=True),
                    "is_new": event.is_new,
                    "seconds": event.seconds,
                }


def _order(request: Request, app: AppName, platform: Platform) -> DeployOrder:
    """What to deploy, from the query: its own words, scaling settings, resources."""
    query = request.query_params
    unknown = sorted(word for word in query if word not in _DEPLOY_WORDS and not is_setting(word) and not is_resource(word))
    if unknown:
        raise Refused(422, f"'{unknown[0]}' in the query is not known", hint="the API's reference lists what may stand there")
    resources = {word: text for word, text in query.items() if is_resource(word)}
    known = platform.catalog.find_app(app)
    before = known.resources if known is not None else Resources()
    return DeployOrder(
        app=app,
        strategy=convert(query.get("strategy", Strategy.ROLLING.value), Strategy, "'strategy'"),
        strict=flag(request, "strict"),
        scaling=scaling_of({word: text for word, text in query.items() if is_setting(word)}, from_text=True),
        resources=resources_of(resources, before, from_text=True) if resources else None,
        access=convert(query["access"], Access, "'access'") if "access" in query else None,
        labels={"message": query["message"][:1000]} if "message" in query else {},
    )


async def _encoded(texts: AsyncIterator[str]) -> AsyncGenerator[bytes, None]:
    try:
        async for text in texts:
            yield text.encode("utf-8", "replace")
    finally:
        if isinstance(texts, AsyncGenerator):
            await texts.aclose()
