"""The routes of Cog's HTTP API."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from drivetrain import __version__
from drivetrain.dialects.cog.openapi import openapi_document
from drivetrain.model.errors import DrivetrainError, InternalError
from drivetrain.model.inputs import InvalidInputs
from drivetrain.model.project import Mode
from drivetrain.serving.event_stream import EventStream
from drivetrain.serving.http.docs_page import DOCS_PAGE
from drivetrain.serving.http.exchange import ClientGone, Exchange, HttpError, Receive, Scope, Send
from drivetrain.serving.http.health import describe_health
from drivetrain.serving.http.rendering import render_prediction, render_value
from drivetrain.serving.http.request import ParsedRequest, parse_delivery, parse_request
from drivetrain.serving.http.waiting import Outcome, wait_for_end
from drivetrain.serving.outgoing import AddressRefused
from drivetrain.serving.run import Run
from drivetrain.serving.server import AtCapacity, ModelServer, NotReady
from drivetrain.serving.supervisor import ModelState
from drivetrain.serving.uploads import Target, Uploader, UploadPassage
from drivetrain.serving.webhooks import Webhooks

#: The noun in the paths of each mode.
_COLLECTION = {Mode.PREDICT: "predictions", Mode.TRAIN: "trainings"}

Handler: TypeAlias = Callable[[Exchange, str], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class HttpOptions:
    """How to speak HTTP.

    Attributes:
        body_limit: Bytes a request's body may have.
        upload_url: Where output files are uploaded to, instead of being put into answers.
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
        server: The model server to call.
        options: How to speak HTTP.
        webhooks: Notifies.
        uploader: Uploads.
        shut_down: Called by ``POST /shutdown``, after it has been answered.
    """

    def __init__(
        self,
        server: ModelServer,
        options: HttpOptions,
        *,
        webhooks: Webhooks,
        uploader: Uploader,
        shut_down: Callable[[], None],
    ) -> None:
        self._server = server
        self._options = options
        self._webhooks = webhooks
        self._uploader = uploader
        self._shut_down = shut_down
        self._extra_headers = _cors_headers(options.cors_origin)
        collection = _COLLECTION[server.mode]
        self._create_path = f"/{collection}"
        self._one = re.compile(f"/{collection}/([^/]+)")
        self._cancel = re.compile(f"/{collection}/([^/]+)/cancel")
        self._pages: dict[str, dict[str, Handler]] = {
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
            methods = {"POST": self._create, "GET": self._list}
        elif page := self._pages.get(path):
            methods = page
        elif match := self._one.fullmatch(path):
            methods, argument = {"GET": self._show, "PUT": self._create}, match[1]
        elif match := self._cancel.fullmatch(path):
            methods, argument = {"POST": self._cancel_run}, match[1]
        else:
            raise HttpError(404, "Not Found")
        method = "GET" if exchange.method == "HEAD" else exchange.method
        if method == "OPTIONS" and self._options.cors_origin is not None:
            return self._preflight, ""
        if method not in methods:
            raise HttpError(405, "Method Not Allowed")
        return methods[method], argument

    async def _create(self, exchange: Exchange, url_id: str) -> None:
        parsed = parse_request(exchange, await exchange.json_body(), url_id)
        if parsed.delivery.is_stream:
            self._require_stream()
        run = self._server.create(parsed.request, accepted=lambda run: self._equip(run, parsed))
        if parsed.delivery.is_stream:
            await self._stream(run, exchange)
            return
        with run.attended():
            outcome = await wait_for_end(run, exchange, parsed.delivery.wait)
        if outcome is Outcome.CLIENT_GONE:
            self._server.leave(run)
            return
        await exchange.respond(200 if outcome is Outcome.FINISHED else 202, await self._render(run))

    def _equip(self, run: Run, parsed: ParsedRequest) -> None:
        """Have a new run's files uploaded and its progress told, as the server or the request says."""
        run.ends_with_its_clients = parsed.delivery.is_stream or parsed.delivery.wait is None
        if parsed.output_file_prefix is not None:
            run.passage = UploadPassage(run, self._uploader, Target(url=parsed.output_file_prefix, as_form=True))
        elif self._options.upload_url is not None:
            run.passage = UploadPassage(run, self._uploader, Target(url=self._options.upload_url))
        if parsed.webhook is not None:
            self._webhooks.follow(run, parsed.webhook)

    def _require_stream(self) -> None:
        signature = self._server.supervisor.signature
        if signature is None:
            return  # not set up yet; creating says so
        may_stream = self._options.streams_everything or (signature.streaming and self._server.mode is Mode.PREDICT)
        if not may_stream:
            raise HttpError(406, "this model's output is not streamed")

    async def _stream(self, run: Run, exchange: Exchange) -> None:
        stream = EventStream(run, render=render_prediction, render_value=render_value)
        with run.attended():
            stayed = await exchange.stream(stream.chunks(), b"text/event-stream")
        if not stayed:
            self._server.leave(run)

    async def _render(self, run: Run) -> dict[str, Any]:
        body = await render_prediction(run.prediction)
        if not run.is_finished and (position := self._server.supervisor.position(run)) is not None:
            body["queue_position"] = position
        return body

    async def _list(self, exchange: Exchange, _argument: str) -> None:
        await exchange.respond(200, {"results": [await self._render(run) for run in self._server.known()]})

    async def _show(self, exchange: Exchange, run_id: str) -> None:
        run = self._find(run_id)
        if parse_delivery(exchange).is_stream:
            self._require_stream()
            stream = EventStream(run, render=render_prediction, render_value=render_value)
            await exchange.stream(stream.chunks(), b"text/event-stream")
            return
        await exchange.respond(200, await self._render(run))

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

    async def _alive(self, exchange: Exchange, _argument: str) -> None:
        await exchange.respond(200, {"status": "alive"})

    async def _ready(self, exchange: Exchange, _argument: str) -> None:
        state = self._server.supervisor.state
        await exchange.respond(200 if state is ModelState.READY else 503, {"status": state.value})

    async def _metrics(self, exchange: Exchange, _argument: str) -> None:
        from drivetrain.serving.http.metrics import CONTENT_TYPE, render_metrics  # not worth its import until somebody asks

        await exchange.respond_bytes(200, render_metrics(self._server), CONTENT_TYPE)

    async def _preflight(self, exchange: Exchange, _argument: str) -> None:
        await exchange.respond_bytes(204, b"", b"text/plain")

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
