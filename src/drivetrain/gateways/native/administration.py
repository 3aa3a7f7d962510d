"""Routes for runners, the queue, secrets, keys, files, webhook deliveries, and who did what."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from drivetrain import __version__
from drivetrain.gateways.http.addresses import Addresses
from drivetrain.gateways.http.answer import Json
from drivetrain.gateways.http.body import body_chunks
from drivetrain.gateways.http.guard import Guard
from drivetrain.gateways.http.refusal import Refused
from drivetrain.gateways.native.parsing import NewKey, SecretBody, convert, flag, number, read_body, seconds
from drivetrain.gateways.native.rendering import (
    PREFIX,
    render_audit_line,
    render_delivery,
    render_file,
    render_key,
    render_runner,
    render_secret,
)
from drivetrain.model.prediction import PredictionId
from drivetrain.platform.access import Caller
from drivetrain.platform.app import AppName
from drivetrain.platform.delivery import DeliveryId, DeliveryState
from drivetrain.platform.files import FileId
from drivetrain.platform.fleet import RunnerId
from drivetrain.platform.key import Scope
from drivetrain.platform.platform import Platform


class Administration:
    """What is not about one app or prediction."""

    def __init__(self, platform: Platform, addresses: Addresses) -> None:
        self._platform = platform
        self._addresses = addresses

    def routes(self, guard: Guard) -> Sequence[BaseRoute]:
        """The routes."""
        secret = PREFIX + "/secrets/{owner}/{name}"
        app_secret = PREFIX + "/apps/{owner}/{app}/secrets/{name}"
        return [
            guard.route(f"{PREFIX}/me", self.me, "GET"),
            guard.route(f"{PREFIX}/runners", self.runners, "GET"),
            guard.route(PREFIX + "/runners/{id}", self.stop_runner, "DELETE"),
            guard.route(f"{PREFIX}/queue", self.queue, "GET"),
            guard.route(f"{PREFIX}/secrets", self.secrets, "GET"),
            guard.route(secret, self.set_secret, "PUT"),
            guard.route(secret, self.remove_secret, "DELETE"),
            guard.route(app_secret, self.set_secret, "PUT"),
            guard.route(app_secret, self.remove_secret, "DELETE"),
            guard.route(f"{PREFIX}/keys", self.keys, "GET"),
            guard.route(f"{PREFIX}/keys", self.add_key, "POST"),
            guard.route(PREFIX + "/keys/{id}", self.revoke_key, "DELETE"),
            guard.route(f"{PREFIX}/files", self.upload, "POST"),
            guard.route(PREFIX + "/files/{id}", self.file, "GET"),
            guard.route(PREFIX + "/files/{id}", self.remove_file, "DELETE"),
            guard.route(PREFIX + "/predictions/{id}/deliveries", self.deliveries, "GET"),
            guard.route(f"{PREFIX}/deliveries", self.deliveries, "GET"),
            guard.route(PREFIX + "/deliveries/{id}/resend", self.resend, "POST"),
            guard.route(f"{PREFIX}/webhook-secrets", self.webhook_secrets, "GET"),
            guard.route(f"{PREFIX}/audit", self.audit, "GET"),
        ]

    async def me(self, _request: Request, caller: Caller) -> Response:
        """Whose key this is, and which version answers."""
        caller.require(Scope.CALL)
        assert caller.key is not None
        key = caller.key
        return Json({"key": key.id, "owner": key.owner, "scope": key.scope.value, "name": key.name, "version": __version__})

    async def runners(self, _request: Request, caller: Caller) -> Response:
        """The runners there are, and why others are not."""
        results = []
        for runner in self._platform.runners(caller):
            revision = self._platform.catalog.find_revision(runner.revision)
            results.append(render_runner(runner) | {"number": revision.number if revision is not None else None})
        unplaced = {str(name): why for name, why in self._platform.unplaced(caller).items()}
        return Json({"results": results, "unplaced": unplaced})

    async def stop_runner(self, request: Request, caller: Caller) -> Response:
        """End a runner after its predictions; with ``?now``, at once."""
        await self._platform.stop_runner(caller, RunnerId(request.path_params["id"]), now=flag(request, "now"))
        return Response(status_code=204)

    async def queue(self, _request: Request, caller: Caller) -> Response:
        """What waits and runs, by revision."""
        results = []
        for revision_id, load in (await self._platform.load(caller)).items():
            revision = self._platform.catalog.revision(revision_id)
            entry = {"app": str(revision.app), "revision": revision_id, "number": revision.number}
            entry |= {"waiting": load.waiting, "running": load.running, "oldest_waiting_at": load.oldest_waiting_at}
            results.append(entry)
        return Json({"results": sorted(results, key=lambda entry: (entry["app"], entry["number"]))})

    async def secrets(self, request: Request, caller: Caller) -> Response:
        """The names of an owner's secrets."""
        owner = request.query_params.get("owner") or caller.owner
        return Json({"results": [render_secret(secret) for secret in await self._platform.secrets(caller, owner)]})

    async def set_secret(self, request: Request, caller: Caller) -> Response:
        """Keep a secret, for an owner's apps or for one of them."""
        owner, app, name = _secret(request)
        body = await read_body(request, SecretBody)
        await self._platform.set_secret(caller, owner, app, name, body.value)
        return Response(status_code=204)

    async def remove_secret(self, request: Request, caller: Caller) -> Response:
        """Forget a secret."""
        owner, app, name = _secret(request)
        await self._platform.remove_secret(caller, owner, app, name)
        return Response(status_code=204)

    async def keys(self, _request: Request, caller: Caller) -> Response:
        """The keys that the caller may handle."""
        return Json({"results": [render_key(key) for key in await self._platform.keys(caller)]})

    async def add_key(self, request: Request, caller: Caller) -> Response:
        """Make a key; the only time that it is shown."""
        body = await read_body(request, NewKey)
        expires_at = None
        if body.expires_in is not None:
            expires_at = self._platform.clock.now() + seconds(body.expires_in, "'expires_in'")
        key, text = await self._platform.add_key(
            caller,
            owner=body.owner if body.owner is not None else caller.owner,
            scope=Scope(body.scope),
            name=body.name[:200],
            expires_at=expires_at,
            requests_per_minute=_limit(body.requests_per_minute, "requests_per_minute"),
            concurrency=_limit(body.concurrency, "concurrency"),
        )
        return Json(render_key(key) | {"key": text}, 201)

    async def revoke_key(self, request: Request, caller: Caller) -> Response:
        """Make a key worthless."""
        await self._platform.revoke_key(caller, request.path_params["id"])
        return Response(status_code=204)

    async def upload(self, request: Request, caller: Caller) -> Response:
        """Store the body as a file, of which ``?name=`` is the name."""
        stored = await self._platform.upload(
            caller,
            name=request.query_params.get("name") or "file",
            content_type=request.headers.get("content-type"),
            content=body_chunks(request, limit=self._platform.options.file_bytes),
            metadata={},
        )
        return Json(render_file(stored, self._addresses, self._addresses.origin(request)), 201)

    async def file(self, request: Request, caller: Caller) -> Response:
        """What is known of a file, and where it can be read."""
        stored = await self._platform.file(caller, FileId(request.path_params["id"]))
        return Json(render_file(stored, self._addresses, self._addresses.origin(request)))

    async def remove_file(self, request: Request, caller: Caller) -> Response:
        """Delete a file."""
        await self._platform.remove_file(caller, FileId(request.path_params["id"]))
        return Response(status_code=204)

    async def deliveries(self, request: Request, caller: Caller) -> Response:
        """Webhook deliveries, newest first: of one prediction, or of all."""
        prediction = request.path_params.get("id")
        state = request.query_params.get("state")
        found = await self._platform.deliveries(
            caller,
            prediction=PredictionId(prediction) if prediction is not None else None,
            state=convert(state, DeliveryState, "'state'") if state is not None else None,
        )
        return Json({"results": [render_delivery(delivery) for delivery in found]})

    async def resend(self, request: Request, caller: Caller) -> Response:
        """Send a webhook again."""
        return Json(render_delivery(await self._platform.resend(caller, DeliveryId(request.path_params["id"]))))

    async def webhook_secrets(self, _request: Request, caller: Caller) -> Response:
        """What webhooks are signed with, newest first."""
        return Json({"results": await self._platform.webhook_secrets(caller)})

    async def audit(self, request: Request, caller: Caller) -> Response:
        """Who did what, newest first."""
        lines = await self._platform.audit_lines(caller, limit=number(request, "limit", default=100, most=10_000))
        return Json({"results": [render_audit_line(line) for line in lines]})


def _secret(request: Request) -> tuple[str, AppName | None, str]:
    owner = request.path_params["owner"]
    app = request.path_params.get("app")
    return owner, AppName.parse(f"{owner}/{app}") if app is not None else None, request.path_params["name"]


def _limit(value: int | None, what: str) -> int | None:
    if value is not None and value < 1:
        raise Refused(422, f"'{what}' must be at least 1")
    return value
