"""Who the caller is, what hardware there is, which models belong together, what webhooks are signed with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from drivetrain.gateways.http.answer import Json
from drivetrain.gateways.replicate.hardware import offered
from drivetrain.gateways.replicate.models import Models
from drivetrain.gateways.replicate.page import cursor_of, select
from drivetrain.gateways.replicate.site import Site
from drivetrain.gateways.replicate.table import Entry
from drivetrain.platform.access import Caller, NotFound
from drivetrain.platform.app import App


class Account:
    """The routes about an account and what it finds here."""

    def __init__(self, site: Site, models: Models) -> None:
        self._site = site
        self._models = models

    def entries(self) -> Sequence[Entry]:
        """The routes."""
        return [
            Entry("/account", self.account, "GET"),
            Entry("/hardware", self.hardware, "GET"),
            Entry("/collections", self.collections, "GET"),
            Entry("/collections/{slug}", self.collection, "GET"),
            Entry("/webhooks/default/secret", self.webhook_secret, "GET"),
        ]

    async def account(self, request: Request, caller: Caller) -> Response:
        """``GET /account``."""
        return Json(self._site.renderer(request).account(caller.owner))

    async def hardware(self, _: Request, caller: Caller) -> Response:
        """``GET /hardware``: a bare list."""
        return Json(offered(len(self._site.platform.capacity(caller).gpus)))

    async def collections(self, request: Request, caller: Caller) -> Response:
        """``GET /collections``: one of each owner's models."""
        owners = self._owners(caller)
        names, page = select(list(owners), cursor_of(request.query_params), lambda name: (_oldest(owners[name]), name))
        results = [_render(name) for name in names]
        return Json(replace(page, results=results).render(self._site.renderer(request).url("/collections"), {}))

    async def collection(self, request: Request, caller: Caller) -> Response:
        """``GET /collections/{slug}``."""
        slug = request.path_params["slug"]
        apps = self._owners(caller).get(slug)
        if apps is None:
            raise NotFound("collection", slug)
        return Json({**_render(slug), "models": [await self._models.render(request, caller, app) for app in apps]})

    async def webhook_secret(self, _: Request, caller: Caller) -> Response:
        """``GET /webhooks/default/secret``."""
        secrets = await self._site.platform.webhook_secrets(caller)
        return Json({"key": secrets[0]})

    def _owners(self, caller: Caller) -> dict[str, list[App]]:
        owners: dict[str, list[App]] = {}
        for app in self._site.models(caller):
            owners.setdefault(app.name.owner, []).append(app)
        return owners


def _oldest(apps: Sequence[App]) -> Any:
    return min(app.created_at for app in apps)


def _render(owner: str) -> dict[str, Any]:
    return {"name": owner, "slug": owner, "description": f"Models of {owner}", "full_description": None}
