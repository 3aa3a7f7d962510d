"""The routes of Cog's HTTP API."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeAlias

from drivetrain import __version__
from drivetrain.dialects.cog.openapi import openapi_document
from drivetrain.model.errors import DrivetrainError, InternalError
from drivetrain.model.inputs import InvalidInputs
from drivetrain.model.prediction import Completed, Event
from drivetrain.model.project import Mode
from drivetrain.serving.http.docs_page import DOCS_PAGE
from drivetrain.serving.http.exchange import ClientGone, Exchange, HttpError, Receive, Scope, Send
from drivetrain.serving.http.health import describe_health
from drivetrain.serving.http.rendering import render_prediction
from drivetrain.serving.run import Run
from drivetrain.serving.server import AtCapacity, ModelServer, NotReady, PredictionRequest

_BODY_LIMIT = 100 * 1024 * 1024

#: The noun in the paths of each mode.
_COLLECTION = {Mode.PREDICT: "predictions", Mode.TRAIN: "trainings"}

Handler: TypeAlias = Callable[[Exchange, str], Awaitable[None]]


class Application:
    """An ASGI application for one model.

    Args:
        server: The model server to call.
        shut_down: Called by ``POST /shutdown``, after it has been answered.
    """

    def __init__(self, server: ModelServer, *, shut_down: Callable[[], None]) -> None:
        self._server = server
        self._shut_down = shut_down
        collection = _COLLECTION[server.mode]
        self._create_path = f"/{collection}"
        self._one = re.compile(f"/{collection}/([^/]+)")
        self._cancel = re.compile(f"/{collection}/([^/]+)/cancel")
        self._pages: dict[str, dict[str, Handler]] = {
            "/": {"GET": self._index},
            "/health-check": {"GET": self._health},
            "/openapi.json": {"GET": self._openapi},
            "/docs": {"GET": self._docs},
            "/shutdown": {"POST": self._shutdown},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send, body_limit=_BODY_LIMIT)
        try:
            handler, argument = self._route(exchange)
            await handler(exchange, argument)
        except ClientGone:
            pass
        except HttpError as error:
            await exchange.respond(error.status, error.body)
        except DrivetrainError as error:
            await exchange.respond(*_describe(error))

    def _route(self, exchange: Exchange) -> tuple[Handler, str]:
        path = exchange.path
        methods: dict[str, Handler]
        argument = ""
        if path == self._create_path:
            methods = {"POST": self._create}
        elif page := self._pages.get(path):
            methods = page
        elif match := self._one.fullmatch(path):
            methods, argument = {"GET": self._show, "PUT": self._create}, match[1]
        elif match := self._cancel.fullmatch(path):
            methods, argument = {"POST": self._cancel_run}, match[1]
        else:
            raise HttpError(404, "Not Found")
        method = "GET" if exchange.method == "HEAD" else exchange.method
        if method not in methods:
            raise HttpError(405, "Method Not Allowed")
        return methods[method], argument

    async def _create(self, exchange: Exchange, run_id: str) -> None:
        request = _parse_request(await exchange.json_body(), run_id)
        run = self._server.create(request)
        if _wants_no_wait(exchange):
            await exchange.respond(202, await render_prediction(run.prediction))
            return
        if await _finished_or_disconnected(run, exchange):
            await exchange.respond(200, await render_prediction(run.prediction))
        elif not run_id:  # an idempotent PUT may be waited for by others, or asked for again
            self._server.cancel(run.id)

    async def _show(self, exchange: Exchange, run_id: str) -> None:
        await exchange.respond(200, await render_prediction(self._find(run_id).prediction))

    async def _cancel_run(self, exchange: Exchange, run_id: str) -> None:
        found = self._server.cancel(run_id)
        await exchange.respond(200 if found else 404, {})

    def _find(self, run_id: str) -> Run:
        run = self._server.get(run_id)
        if run is None:
            raise HttpError(404, f"no prediction '{run_id}' is under way or has ended lately")
        return run

    async def _index(self, exchange: Exchange, _argument: str) -> None:
        collection = _COLLECTION[self._server.mode]
        await exchange.respond(
            200,
            {
                "cog_version": __version__,
                "docs_url": "/docs",
                "openapi_url": "/openapi.json",
                "shutdown_url": "/shutdown",
                "healthcheck_url": "/health-check",
                f"{collection}_url": f"/{collection}",
                f"{collection}_idempotent_url": f"/{collection}/{{prediction_id}}",
                f"{collection}_cancel_url": f"/{collection}/{{prediction_id}}/cancel",
            },
        )

    async def _health(self, exchange: Exchange, _argument: str) -> None:
        await exchange.respond(200, await describe_health(self._server))

    async def _openapi(self, exchange: Exchange, _argument: str) -> None:
        signature = self._server.supervisor.signature
        if signature is None:
            raise HttpError(503, "the model's signature is not known yet")
        predict, train = (signature, None) if self._server.mode is Mode.PREDICT else (None, signature)
        await exchange.respond(200, openapi_document(predict, train, version=__version__))

    async def _docs(self, exchange: Exchange, _argument: str) -> None:
        await exchange.respond_bytes(200, DOCS_PAGE, b"text/html; charset=utf-8")

    async def _shutdown(self, exchange: Exchange, _argument: str) -> None:
        await exchange.respond(200, {})
        self._shut_down()


def _parse_request(body: Any, run_id: str) -> PredictionRequest:
    if body is None:
        body = {}
    if not isinstance(body, dict):
        raise _invalid(["body"], "the body must be a JSON object")
    body_id = body.get("id")
    if body_id is not None and not isinstance(body_id, str):
        raise _invalid(["body", "id"], "must be a string")
    if run_id and body_id is not None and body_id != run_id:
        raise _invalid(["body", "id"], "prediction ID must match the ID supplied in the URL")
    return PredictionRequest(
        id=run_id or body_id or uuid.uuid4().hex,
        input=_parse_object(body, "input"),
        context=_parse_context(body),
        created_at=_parse_time(body.get("created_at")),
    )


def _parse_object(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _invalid(["body", name], "must be an object")
    return value


def _parse_context(body: dict[str, Any]) -> dict[str, str]:
    context = _parse_object(body, "context")
    for key, value in context.items():
        if not isinstance(value, str):
            raise _invalid(["body", "context", key], "must be a string")
    return context


def _parse_time(value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        return datetime.fromisoformat(value.replace("Z", "+00:00"))
    except (ValueError, AttributeError):
        raise _invalid(["body", "created_at"], "must be a time in ISO 8601") from None


def _invalid(location: list[str | int], message: str) -> HttpError:
    return HttpError(422, [{"loc": location, "msg": message, "type": "value_error"}])


def _describe(error: DrivetrainError) -> tuple[int, dict[str, Any]]:
    if isinstance(error, InvalidInputs):
        return 422, {
            "detail": [
                {"loc": ["body", "input", *problem.location], "msg": problem.message, "type": f"value_error.{problem.type}"}
                for problem in error.problems
            ]
        }
    if isinstance(error, AtCapacity):
        return 409, {"detail": "Already running a prediction", "error": error.message, "status": "failed"}
    if isinstance(error, NotReady):
        return 503, {"detail": error.message, "error": error.message, "status": "failed"}
    return 500 if isinstance(error, InternalError) else 400, {"detail": error.message}


def _wants_no_wait(exchange: Exchange) -> bool:
    preferences = (part.strip().lower() for part in exchange.header(b"prefer").split(","))
    return "respond-async" in preferences


async def _finished_or_disconnected(run: Run, exchange: Exchange) -> bool:
    """Wait until the prediction ends (``True``) or the client hangs up."""
    if run.is_finished:
        return True
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[bool] = loop.create_future()

    def settle(value: bool) -> None:
        if not outcome.done():
            outcome.set_result(value)

    def watch(event: Event) -> None:
        if isinstance(event, Completed):
            settle(True)

    # After the body has been read, the server's next message is the disconnect.
    disconnect = loop.create_task(_disconnected(exchange))
    disconnect.add_done_callback(lambda _task: settle(False))
    try:
        with run.watched(watch):
            return await outcome
    finally:
        disconnect.cancel()


async def _disconnected(exchange: Exchange) -> None:
    while (await exchange.receive())["type"] != "http.disconnect":
        pass
