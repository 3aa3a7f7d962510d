"""Models and their versions: our apps and their revisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from drivetrain.gateways.http.answer import Json
from drivetrain.gateways.http.body import read_bytes
from drivetrain.gateways.http.guard import Admits
from drivetrain.gateways.replicate.bodies import InvalidBody, ModelBody, ModelPatch, read_body
from drivetrain.gateways.replicate.hardware import read_sku
from drivetrain.gateways.replicate.page import Page, cursor_of, select
from drivetrain.gateways.replicate.rendering import LABEL, labels_of
from drivetrain.gateways.replicate.search import find_models, read_query
from drivetrain.gateways.replicate.site import Site, own_labels
from drivetrain.gateways.replicate.table import Entry
from drivetrain.model.errors import BadRequest
from drivetrain.platform.access import Caller, Forbidden, NotFound
from drivetrain.platform.app import Access, App, AppName, Revision, RevisionId, RevisionState

_LARGEST_QUERY = 64 * 1024

#: Counting a million predictions takes a moment.
_COUNT_SECONDS = 10.0

#: Members of a model that are only kept and shown.
_KEPT = ("github_url", "paper_url", "license_url", "weights_url", "cover_image_url", "readme")


class Models:
    """The routes of models and versions."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._counts: dict[AppName, tuple[float, int]] = {}

    def entries(self) -> Sequence[Entry]:
        """The routes."""
        model = "/models/{owner}/{name}"
        return [
            Entry("/models", self.list, "GET"),
            Entry("/models", self.create, "POST"),
            Entry("/models", self.query, "QUERY"),
            Entry("/search", self.search, "GET"),
            Entry(model, self.get, "GET", admits=Admits.CALLERS),
            Entry(model, self.change, "PATCH"),
            Entry(model, self.delete, "DELETE"),
            Entry(f"{model}/examples", self.examples, "GET"),
            Entry(f"{model}/readme", self.readme, "GET"),
            Entry(f"{model}/versions", self.versions, "GET", admits=Admits.CALLERS),
            Entry(f"{model}/versions/{{version}}", self.version, "GET", admits=Admits.CALLERS),
            Entry(f"{model}/versions/{{version}}", self.delete_version, "DELETE"),
        ]

    async def list(self, request: Request, caller: Caller) -> Response:
        """``GET /models``: all that the caller may run."""
        sort_by = _choice(request, "sort_by", "model_created_at", "latest_version_created_at")
        ascending = _choice(request, "sort_direction", "desc", "asc") == "asc"
        by_version = sort_by == "latest_version_created_at"

        def place(app: App) -> Any:
            latest = self._latest(app) if by_version else None
            return (latest or app).created_at, str(app.name)

        apps, page = select(self._site.models(caller), cursor_of(request.query_params), place, ascending=ascending)
        kept = {key: value for key, value in request.query_params.items() if key in ("sort_by", "sort_direction")}
        return Json(await self._page(request, caller, apps, page, kept))

    async def query(self, request: Request, caller: Caller) -> Response:
        """``QUERY /models``: those that a text fits, in one page."""
        body = bytes(await read_bytes(request, limit=_LARGEST_QUERY))
        found = find_models(self._site.models(caller), read_query(body))
        return Json(await self._page(request, caller, [app for app, _ in found], Page(results=()), {}))

    async def search(self, request: Request, caller: Caller) -> Response:
        """``GET /search``."""
        query = request.query_params.get("query", "").strip()
        if not query:
            raise InvalidBody("query", "is required")
        limit = _limit(request)
        found = find_models(self._site.models(caller), query)[:limit]
        models = [
            {
                "model": await self.render(request, caller, app),
                "metadata": {"generated_description": None, "tags": [], "score": score},
            }
            for app, score in found
        ]
        return Json({"query": query, "models": models, "collections": [], "pages": []})

    async def create(self, request: Request, caller: Caller) -> Response:
        """``POST /models``: a name to deploy to, or to train into."""
        body = await read_body(request, ModelBody)
        labels = {key: value for key in _KEPT if (value := getattr(body, key, None)) is not None}
        app = App(
            name=AppName.parse(f"{body.owner}/{body.name}"),
            created_at=self._site.platform.clock.now(),
            resources=read_sku(body.hardware),
            access=Access.SHARED if body.visibility == "public" else Access.PRIVATE,
            description=body.description or "",
            labels=own_labels(hardware=body.hardware, **labels),
        )
        return Json(await self.render(request, caller, await self._site.platform.create_app(caller, app)), 201)

    async def get(self, request: Request, caller: Caller) -> Response:
        """``GET /models/{owner}/{name}``."""
        return Json(await self.render(request, caller, self._site.model(request, caller)))

    async def change(self, request: Request, caller: Caller) -> Response:
        """``PATCH /models/{owner}/{name}``."""
        body = await read_body(request, ModelPatch)
        app = self._site.model(request, caller)
        given = {key: value for key, value in msgspec.to_builtins(body).items() if value is not None}
        kept = {key: value for key, value in given.items() if key in _KEPT}

        def changed(app: App) -> App:
            labels = {**app.labels, LABEL: {**labels_of(app.labels), **kept}}
            return replace(app, description=given.get("description", app.description), labels=labels)

        return Json(await self.render(request, caller, await self._site.platform.change_app(caller, app.name, changed)))

    async def delete(self, request: Request, caller: Caller) -> Response:
        """``DELETE /models/{owner}/{name}``: only what nothing would be lost with."""
        app = self._site.model(request, caller)
        if app.access is not Access.PRIVATE:
            raise Forbidden(f"the model '{app.name}' is public: only private models can be deleted")
        if self._ready(app):
            raise Forbidden(f"the model '{app.name}' has versions: delete them first, or remove it with 'drivetrain rm'")
        await self._site.platform.remove_app(caller, app.name)
        return Response(status_code=204)

    async def examples(self, request: Request, caller: Caller) -> Response:
        """``GET /models/{owner}/{name}/examples``: nobody marks predictions as examples here."""
        self._site.model(request, caller)
        return Json(Page(results=()).render("", {}))

    async def readme(self, request: Request, caller: Caller) -> Response:
        """``GET /models/{owner}/{name}/readme``."""
        app = self._site.model(request, caller)
        text = labels_of(app.labels).get("readme")
        if not text:
            raise NotFound("readme of", str(app.name))
        return PlainTextResponse(str(text))

    async def versions(self, request: Request, caller: Caller) -> Response:
        """``GET /models/{owner}/{name}/versions``, newest first."""
        app = self._site.model(request, caller)
        revisions, page = select(
            self._ready(app), cursor_of(request.query_params), lambda revision: (revision.created_at, revision.id)
        )
        renderer = self._site.renderer(request)
        results = [renderer.version(revision) for revision in revisions]
        return Json(replace(page, results=results).render(renderer.url(f"/models/{app.name}/versions"), {}))

    async def version(self, request: Request, caller: Caller) -> Response:
        """``GET /models/{owner}/{name}/versions/{id}``."""
        return Json(self._site.renderer(request).version(self.find_version(request, caller)))

    async def delete_version(self, request: Request, caller: Caller) -> Response:
        """``DELETE /models/{owner}/{name}/versions/{id}``."""
        revision = self.find_version(request, caller)
        app = self._site.model(request, caller)
        if app.access is not Access.PRIVATE:
            raise Forbidden(f"the model '{app.name}' is public: only versions of private models can be deleted")
        if (user := self._user(revision)) is not None:
            raise BadRequest(f"the version '{revision.id}' is deployed as '{user}'", hint="change or delete the deployment first")
        await self._site.platform.remove_revision(caller, revision.id)
        return Response(status_code=202)

    def find_version(self, request: Request, caller: Caller) -> Revision:
        """The version that a path names.

        Raises:
            NotFound: It is none of the model's, or has never been ready.
        """
        app = self._site.model(request, caller)
        version = request.path_params["version"]
        revision = self._site.find_revision(RevisionId(version))
        if revision is None or revision.app != app.name or revision.state is not RevisionState.READY:
            raise NotFound("version", version)
        return revision

    def _user(self, revision: Revision) -> str | None:
        """The deployment that runs a version."""
        for app in self._site.platform.catalog.apps():
            labels = labels_of(app.labels)
            if labels.get("version") == revision.id and "deployment" in labels:
                return str(labels["deployment"])
        return None

    def _ready(self, app: App) -> Sequence[Revision]:
        revisions = self._site.platform.catalog.revisions(app.name)
        return [revision for revision in revisions if revision.state is RevisionState.READY]

    def _latest(self, app: App) -> Revision | None:
        """What answers for the model: clients that ask for its newest version mean this."""
        return self._site.platform.catalog.latest(app)

    async def _page(
        self, request: Request, caller: Caller, apps: Sequence[App], page: Page, query: dict[str, str]
    ) -> dict[str, Any]:
        results = [await self.render(request, caller, app) for app in apps]
        return replace(page, results=results).render(self._site.renderer(request).url("/models"), query)

    async def render(self, request: Request, caller: Caller, app: App) -> dict[str, Any]:
        """A model."""
        return self._site.renderer(request).model(app, self._latest(app), await self._run_count(caller, app))

    async def _run_count(self, caller: Caller, app: App) -> int:
        """How often it has run; as it was a moment ago, since clients ask for a model before every run."""
        now = self._site.platform.clock.monotonic()
        counted_at, count = self._counts.get(app.name, (-_COUNT_SECONDS, 0))
        if now - counted_at >= _COUNT_SECONDS:
            count = await self._site.platform.count(caller, app.name)
            self._counts[app.name] = now, count
        return count


def _choice(request: Request, name: str, *choices: str) -> str:
    value = request.query_params.get(name, choices[0])
    if value not in choices:
        raise InvalidBody(name, f"must be one of {', '.join(choices)}")
    return value


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", "20")
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= 50):
        raise InvalidBody("limit", "must be a number from 1 to 50")
    return int(text)
