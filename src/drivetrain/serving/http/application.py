"""The routes of Cog's HTTP API."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote, unquote

from drivetrain import __version__
from drivetrain.dialects.cog.openapi import openapi_document
from drivetrain.model.errors import DrivetrainError, InternalError
from drivetrain.model.inputs import InvalidInputs, parse_text
from drivetrain.model.project import Mode
from drivetrain.serving.event_stream import EventStream
from drivetrain.serving.http.docs_page import DOCS_PAGE
from drivetrain.serving.http.exchange import ClientGone, Exchange, HttpError, Receive, Scope, Send
from drivetrain.serving.http.form import Form, is_form
from drivetrain.serving.http.health import describe_health
from drivetrain.serving.http.rendering import render_ending, render_prediction, render_value
from drivetrain.serving.http.request import ParsedRequest, parse_delivery, parse_request
from drivetrain.serving.http.waiting import Outcome, wait_for_end
from drivetrain.serving.outgoing import AddressRefused
from drivetrain.serving.run import Run
from drivetrain.serving.server import AtCapacity, ModelServer, NotReady
from drivetrain.serving.supervisor import ModelState
from drivetrain.serving.trainings import TrainingServer
from drivetrain.serving.uploads import Target, Uploader, UploadPassage
from drivetrain.serving.webhooks import Webhooks

if TYPE_CHECKING:
    from drivetrain.serving.tracing import Tracing

#: The noun in the paths of each mode.
_COLLECTION = {Mode.PREDICT: "predictions", Mode.TRAIN: "trainings"}

Page: TypeAlias = Callable[[Exchange], Awaitable[None]]

_RUN_PATH = re.compile(r"/(?P<collection>predictions|trainings)(?:/(?P<id>[^/]+)(?P<cancel>/cancel)?)?")


@dataclass(frozen=True, kw_only=True)
class HttpOptions:
    """How to speak HTTP.

    Attributes:
        body_limit: Bytes a request's body may have.
        upload_url: Where output files are uploaded to, instead of being put into answers; ``{id}`` in it is the prediction's id.
        streams_everything: Whether every iterator may be streamed, or only what the author marked with ``@streaming``, as in Cog.
        cors_origin: Origin of pages that may call the API from a browser; ``*`` is every one.
    """

    body_limit: int = 100 * 1024 * 1024
    upload_url: str | None = None
    streams_everything: bool = True
    cors_origin: str | None = None


class Application:
    """An ASGI application for one model.

    Args:
        server: The model server to call; it decides whether the application is about predictions or trainings.
        options: How to speak HTTP.
        trainings: Runs the same project's trainings, beside predictions; started by the first training.
        webhooks: Notifies.
        uploader: Uploads.
        tracing: Follows predictions with spans, if anybody collects them.
        shut_down: Called by ``POST /shutdown``, after it has been answered.
    """

    def __init__(
        self,
        server: ModelServer,
        options: HttpOptions,
        *,
        trainings: TrainingServer | None = None,
        webhooks: Webhooks,
        uploader: Uploader,
        tracing: Tracing | None = None,
        shut_down: Callable[[], None],
    ) -> None:
        self._server = server
        self._options = options
        self._webhooks = webhooks
        self._uploader = uploader
        self._tracing = tracing
        self._shut_down = shut_down
        self._extra_headers = _cors_headers(options.cors_origin)
        self._trainings = trainings
        self._servers = {_COLLECTION[server.mode]: server}
        if trainings is not None:
            self._servers[_COLLECTION[Mode.TRAIN]] = trainings.server
        self._pages: dict[str, dict[str, Page]] = {
            "/": {"GET": self._index},
            "/health-check": {"GET": self._health},
            "/livez": {"GET": self._alive},
            "/readyz": {"GET": self._ready},
            "/metrics": {"GET": self._metrics},
            "/openapi.json": {"GET": self._openapi},
            "/docs": {"GET": self._docs},
            "/shutdown": {"POST": self._shutdown},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send, body_limit=self._options.body_limit, extra_headers=self._extra_headers)
        try:
            await self._route(exchange)()
        except ClientGone:
            pass
        except HttpError as error:
            await exchange.respond(error.status, error.body)
        except DrivetrainError as error:
            await exchange.respond(*_describe(error))

    def _route(self, exchange: Exchange) -> Callable[[], Awaitable[None]]:
        methods = self._methods(exchange)
        if methods is None:
            raise HttpError(404, "Not Found")
        method = "GET" if exchange.method == "HEAD" else exchange.method
        if method == "OPTIONS" and self._options.cors_origin is not None:
            return lambda: exchange.respond_bytes(204, b"", b"text/plain")
        if method not in methods:
            raise HttpError(405, "Method Not Allowed")
        return methods[method]

    def _methods(self, exchange: Exchange) -> dict[str, Callable[[], Awaitable[None]]] | None:
        """What can be done with the path of a request; ``None`` if there is nothing under it."""
        if page := self._pages.get(exchange.path):
            return {method: partial(handler, exchange) for method, handler in page.items()}
        match = _RUN_PATH.fullmatch(exchange.path)
        server = self._servers.get(match["collection"]) if match else None
        if match is None or server is None:
            return None
        if match["id"] is None:
            return {"POST": partial(self._create, exchange, server, ""), "GET": partial(self._list, exchange, server)}
        run_id = unquote(match["id"])
        if match["cancel"]:
            return {"POST": partial(self._cancel, exchange, server, run_id)}
        return {"GET": partial(self._show, exchange, server, run_id), "PUT": partial(self._create, exchange, server, run_id)}

    async def _create(self, exchange: Exchange, server: ModelServer, url_id: str) -> None:
        if self._trainings is not None and server is self._trainings.server:
            await self._trainings.started()
        form = Form(Path(server.new_directory())) if is_form(exchange) else None
        try:
            body = await exchange.json_body() if form is None else await _read_form(form, exchange, server)
            parsed = parse_request(exchange, body, url_id)
            if parsed.delivery.is_stream:
                self._require_stream(server)
            run = server.create(parsed.request, accepted=lambda run: self._equip(run, parsed))
        except BaseException:
            if form is not None:
                form.discard()
            raise
        if form is not None:
            run.at_end(form.discard)
        if parsed.delivery.is_stream:
            await self._stream(run, exchange, server, is_minimal=parsed.delivery.is_minimal)
            return
        with run.kept():
            with run.attended():
                outcome = await wait_for_end(run, exchange, parsed.delivery.wait)
            if outcome is Outcome.CLIENT_GONE:
                server.leave(run)
                return
            await exchange.respond(200 if outcome is Outcome.FINISHED else 202, await _render(run, server))

    def _equip(self, run: Run, parsed: ParsedRequest) -> None:
        """Have a new run's files uploaded and its progress told, as the server or the request says."""
        run.ends_with_its_clients = parsed.delivery.is_stream or parsed.delivery.wait is None
        if parsed.output_file_prefix is not None:
            run.passage = UploadPassage(run, self._uploader, Target(url=parsed.output_file_prefix, as_form=True))
        elif self._options.upload_url is not None:
            url = self._options.upload_url.replace("{id}", quote(run.id, safe=""))
            run.passage = UploadPassage(run, self._uploader, Target(url=url))
        if parsed.webhook is not None:
            self._webhooks.follow(run, parsed.webhook)
        if self._tracing is not None:
            self._tracing.follow(run, parsed.trace_headers)

    def _require_stream(self, server: ModelServer) -> None:
        signature = server.supervisor.signature
        if signature is None:
            return  # not set up yet; creating says so
        if not (self._options.streams_everything or (signature.streaming and server.mode is Mode.PREDICT)):
            raise HttpError(406, "this model's output is not streamed")

    async def _stream(self, run: Run, exchange: Exchange, server: ModelServer, *, is_minimal: bool) -> None:
        with run.attended():
            stayed = await exchange.stream(_stream_of(run, is_minimal=is_minimal), b"text/event-stream")
        if not stayed:
            server.leave(run)

    async def _list(self, exchange: Exchange, server: ModelServer) -> None:
        await exchange.respond(200, {"results": [await _render(run, server) for run in server.known()]})

    async def _show(self, exchange: Exchange, server: ModelServer, run_id: str) -> None:
        run = server.get(run_id)
        if run is None:
            raise HttpError(404, f"no prediction '{run_id}' is under way or has ended lately")
        if parse_delivery(exchange).is_stream:
            self._require_stream(server)
            await exchange.stream(_stream_of(run), b"text/event-stream")
            return
        await exchange.respond(200, await _render(run, server))

    async def _cancel(self, exchange: Exchange, server: ModelServer, run_id: str) -> None:
        await exchange.respond(200 if server.cancel(run_id) else 404, {})

    async def _index(self, exchange: Exchange) -> None:
        urls = {
            "cog_version": __version__,
            "docs_url": "/docs",
            "openapi_url": "/openapi.json",
            "shutdown_url": "/shutdown",
            "healthcheck_url": "/health-check",
        }
        for collection in self._servers:
            urls |= {
                f"{collection}_url": f"/{collection}",
                f"{collection}_idempotent_url": f"/{collection}/{{prediction_id}}",
                f"{collection}_cancel_url": f"/{collection}/{{prediction_id}}/cancel",
            }
        await exchange.respond(200, urls)

    async def _health(self, exchange: Exchange) -> None:
        await exchange.respond(200, await describe_health(self._server))

    async def _alive(self, exchange: Exchange) -> None:
        await exchange.respond(200, {"status": "alive"})

    async def _ready(self, exchange: Exchange) -> None:
        state = self._server.supervisor.state
        await exchange.respond(200 if state is ModelState.READY else 503, {"status": state.value})

    async def _metrics(self, exchange: Exchange) -> None:
        from drivetrain.serving.http.metrics import CONTENT_TYPE, render_metrics  # not worth its import until somebody asks

        await exchange.respond_bytes(200, render_metrics(self._server), CONTENT_TYPE)

    async def _openapi(self, exchange: Exchange) -> None:
        signature = self._server.supervisor.signature
        if signature is None:
            raise HttpError(503, "the model's signature is not known yet")
        train = self._trainings.signature if self._trainings is not None else None
        signatures = (None, signature) if self._server.mode is Mode.TRAIN else (signature, train)
        await exchange.respond(200, openapi_document(*signatures, version=__version__))

    async def _docs(self, exchange: Exchange) -> None:
        await exchange.respond_bytes(200, DOCS_PAGE, b"text/html; charset=utf-8")

    async def _shutdown(self, exchange: Exchange) -> None:
        await exchange.respond(200, {})
        self._shut_down()


async def _read_form(form: Form, exchange: Exchange, server: ModelServer) -> dict[str, Any]:
    await form.read(exchange)
    signature = server.supervisor.signature
    return {"input": parse_text(signature, form.texts) if signature is not None else {}}


def _stream_of(run: Run, *, is_minimal: bool = False) -> AsyncIterator[bytes]:
    return EventStream(run, render=render_ending if is_minimal else render_prediction, render_value=render_value).chunks()


async def _render(run: Run, server: ModelServer) -> dict[str, Any]:
    with run.kept():
        body = await render_prediction(run.prediction)
    if not run.is_finished and (position := server.supervisor.position(run)) is not None:
        body["queue_position"] = position
    return body


def _cors_headers(origin: str | None) -> tuple[tuple[bytes, bytes], ...]:
    if origin is None:
        return ()
    return (
        (b"access-control-allow-origin", origin.encode("latin-1", "replace")),
        (b"access-control-allow-methods", b"GET, POST, PUT, OPTIONS"),
        (b"access-control-allow-headers", b"Content-Type, Prefer, Accept, Authorization"),
        (b"vary", b"Origin"),
    )


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
    if isinstance(error, AddressRefused):
        return 422, {"detail": error.message}
    return 500 if isinstance(error, InternalError) else 400, {"detail": error.message}
