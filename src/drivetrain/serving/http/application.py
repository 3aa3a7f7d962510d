"""The routes of Cog's HTTP API."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote, unquote

import msgspec

from drivetrain import __version__
from drivetrain.dialects.cog.openapi import openapi_document
from drivetrain.model.errors import DrivetrainError, InternalError
from drivetrain.model.inputs import InvalidInputs, parse_text
from drivetrain.model.project import Mode
from drivetrain.serving.event_stream import EventStream
from drivetrain.serving.http.client_connection import Work
from drivetrain.serving.http.docs_page import DOCS_PAGE
from drivetrain.serving.http.exchange import ClientGone, Exchange, HttpError
from drivetrain.serving.http.form import Form, is_form
from drivetrain.serving.http.health import describe_health
from drivetrain.serving.http.rendering import SizedBody, SizedList, large_files, render_at_once, render_ending, render_value
from drivetrain.serving.http.request import ParsedRequest, parse_delivery, parse_request
from drivetrain.serving.http.streaming import StreamingAnswer
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

Page: TypeAlias = Callable[[Exchange], Work]

_RUN_PATH = re.compile(r"/(?P<collection>predictions|trainings)/(?P<id>[^/]+)(?P<cancel>/cancel)?")


class HttpOptions(msgspec.Struct, frozen=True, kw_only=True):
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
    """Answers requests about one model.

    Args:
        server: The model server to call; it decides whether the application is about predictions or trainings.
        options: How to speak HTTP.
        trainings: Runs the same project's trainings, beside predictions; started by the first training.
        webhooks: Notifies.
        uploader: Uploads.
        tracing: Follows predictions with spans, if anybody collects them.
        shut_down: Called by ``POST /shutdown``, after it has been answered.

    Attributes:
        extra_headers: To be sent with every answer.
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
        self.extra_headers = _cors_headers(options.cors_origin)
        self._server = server
        self._options = options
        self._webhooks = webhooks
        self._uploader = uploader
        self._tracing = tracing
        self._shut_down = shut_down
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
        for collection, each in self._servers.items():
            self._pages[f"/{collection}"] = {"POST": partial(self._create, each, ""), "GET": partial(self._list, each)}

    def handle(self, exchange: Exchange) -> Work:
        """Answer a request now, or when its prediction ends, or by the work that is returned. Raises nothing."""
        try:
            work = self._page(exchange)(exchange)
        except Exception as error:  # noqa: BLE001 (told to the client or, if it is our fault, to both)
            _respond_error(exchange, error)
            return None
        return None if work is None else _guarded(exchange, work)

    def _page(self, exchange: Exchange) -> Page:
        methods = self._pages.get(exchange.path) or self._run_methods(exchange.path)
        if methods is None:
            raise HttpError(404, "Not Found")
        method = "GET" if exchange.method == "HEAD" else exchange.method
        if method == "OPTIONS" and self._options.cors_origin is not None:
            return lambda exchange: exchange.respond_bytes(204, b"", b"text/plain")
        if method not in methods:
            raise HttpError(405, "Method Not Allowed")
        return methods[method]

    def _run_methods(self, path: str) -> dict[str, Page] | None:
        """What can be done with the path of a prediction; ``None`` if it is not one's."""
        match = _RUN_PATH.fullmatch(path)
        server = self._servers.get(match["collection"]) if match else None
        if match is None or server is None:
            return None
        run_id = unquote(match["id"])
        if match["cancel"]:
            return {"POST": partial(self._cancel, server, run_id)}
        return {"GET": partial(self._show, server, run_id), "PUT": partial(self._create, server, run_id)}

    def _create(self, server: ModelServer, url_id: str, exchange: Exchange) -> Work:
        is_training = self._trainings is not None and server is self._trainings.server
        if is_training or not exchange.has_whole_body or is_form(exchange):
            return self._create_later(server, url_id, exchange, is_training=is_training)
        self._run(server, parse_request(exchange, exchange.json_at_once(), url_id), exchange)
        return None

    async def _create_later(self, server: ModelServer, url_id: str, exchange: Exchange, *, is_training: bool) -> None:
        """Run a prediction whose request takes time to read, or whose worker takes time to start."""
        if is_training and self._trainings is not None:
            await self._trainings.started()
        form = Form(Path(server.new_directory())) if is_form(exchange) else None
        try:
            body = await exchange.json_body() if form is None else await _read_form(form, exchange, server)
            run = self._run(server, parse_request(exchange, body, url_id), exchange)
        except BaseException:
            if form is not None:
                form.discard()
            raise
        if form is not None:
            run.at_end(form.discard)

    def _run(self, server: ModelServer, parsed: ParsedRequest, exchange: Exchange) -> Run:
        delivery = parsed.delivery
        if delivery.is_stream:
            self._require_stream(server)
        is_new = False

        def accept(run: Run) -> None:
            nonlocal is_new
            is_new = True
            self._equip(run, parsed)

        run = server.create(parsed.request, accepted=accept)
        run.attendants += 1
        if delivery.is_stream:

            def end(stayed: bool) -> None:
                run.attendants -= 1
                if not stayed:
                    server.leave(run)

            _stream(run, exchange, is_late=not is_new, is_minimal=delivery.is_minimal, ended=end)
            return run

        def answer(outcome: Outcome) -> None:
            run.attendants -= 1
            if outcome is Outcome.CLIENT_GONE:
                server.leave(run)
            else:
                _show(run, server, exchange, 200 if outcome is Outcome.FINISHED else 202)

        wait_for_end(run, exchange, delivery.wait, answer)
        return run

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

    async def _list(self, server: ModelServer, exchange: Exchange) -> None:
        runs = list(server.known())
        with contextlib.ExitStack() as stack:
            for run in runs:
                stack.enter_context(run.kept())
            body = SizedList([SizedBody(run.prediction, _position(run, server)) for run in runs])
            await exchange.respond_sized(200, body.length, body.pieces(), b"application/json")

    def _show(self, server: ModelServer, run_id: str, exchange: Exchange) -> None:
        run = server.get(run_id)
        if run is None:
            raise HttpError(404, f"no prediction '{run_id}' is under way or has ended lately")
        if parse_delivery(exchange).is_stream:
            self._require_stream(server)
            _stream(run, exchange, is_late=True)
        else:
            _show(run, server, exchange, 200)

    def _cancel(self, server: ModelServer, run_id: str, exchange: Exchange) -> None:
        exchange.respond(200 if server.cancel(run_id) else 404, {})

    def _index(self, exchange: Exchange) -> None:
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
        exchange.respond(200, urls)

    async def _health(self, exchange: Exchange) -> None:
        exchange.respond(200, await describe_health(self._server))

    def _alive(self, exchange: Exchange) -> None:
        exchange.respond(200, {"status": "alive"})

    def _ready(self, exchange: Exchange) -> None:
        state = self._server.supervisor.state
        exchange.respond(200 if state is ModelState.READY else 503, {"status": state.value})

    def _metrics(self, exchange: Exchange) -> None:
        from drivetrain.serving.http.metrics import CONTENT_TYPE, render_metrics  # not worth its import until somebody asks

        exchange.respond_bytes(200, render_metrics(self._server), CONTENT_TYPE)

    def _openapi(self, exchange: Exchange) -> None:
        signature = self._server.supervisor.signature
        if signature is None:
            raise HttpError(503, "the model's signature is not known yet")
        train = self._trainings.signature if self._trainings is not None else None
        signatures = (None, signature) if self._server.mode is Mode.TRAIN else (signature, train)
        exchange.respond(200, openapi_document(*signatures, version=__version__))

    def _docs(self, exchange: Exchange) -> None:
        exchange.respond_bytes(200, DOCS_PAGE, b"text/html; charset=utf-8")

    def _shutdown(self, exchange: Exchange) -> None:
        exchange.respond(200, {})
        self._shut_down()


async def _read_form(form: Form, exchange: Exchange, server: ModelServer) -> dict[str, Any]:
    await form.read(exchange)
    signature = server.supervisor.signature
    return {"input": parse_text(signature, form.texts) if signature is not None else {}}


def _stream(
    run: Run, exchange: Exchange, *, is_late: bool, is_minimal: bool = False, ended: Callable[[bool], None] = lambda _stayed: None
) -> None:
    render = render_ending if is_minimal else render_at_once
    stream = EventStream(
        run, render=render, render_value=render_value, find_missing=large_files, repeats=not is_minimal, is_late=is_late
    )
    StreamingAnswer(run, exchange, stream, ended=ended)


def _show(run: Run, server: ModelServer, exchange: Exchange, status: int) -> None:
    """Answer with a prediction: at once, unless it has large files. Raises nothing."""
    try:
        if run.has_files and large_files(run.prediction.outputs, {}):
            exchange.spawn(_guarded(exchange, _show_later(run, server, exchange, status)))
        else:
            body = render_at_once(run.prediction, {})
            body |= _position(run, server)
            exchange.respond(status, body)
    except Exception as error:  # noqa: BLE001 (as in ``handle``)
        _respond_error(exchange, error)


async def _show_later(run: Run, server: ModelServer, exchange: Exchange, status: int) -> None:
    with run.kept():
        body = SizedBody(run.prediction, _position(run, server))
        await exchange.respond_sized(status, body.length, body.pieces(), b"application/json")


def _position(run: Run, server: ModelServer) -> dict[str, Any]:
    if run.is_finished or (position := server.supervisor.position(run)) is None:
        return {}
    return {"queue_position": position}


async def _guarded(exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception as error:  # noqa: BLE001 (as in ``Application.handle``)
        _respond_error(exchange, error)


def _respond_error(exchange: Exchange, error: Exception) -> None:
    if isinstance(error, ClientGone):
        return
    if isinstance(error, HttpError):
        exchange.respond(error.status, error.body)
    elif isinstance(error, DrivetrainError):
        exchange.respond(*describe(error))
    else:
        exchange.respond(500, {"detail": "the server has a fault; its log says more"})
        report = {"message": f"a fault in answering {exchange.method} {exchange.path}", "exception": error}
        asyncio.get_running_loop().call_exception_handler(report)


def _cors_headers(origin: str | None) -> tuple[tuple[bytes, bytes], ...]:
    if origin is None:
        return ()
    return (
        (b"access-control-allow-origin", origin.encode("latin-1", "replace")),
        (b"access-control-allow-methods", b"GET, POST, PUT, OPTIONS"),
        (b"access-control-allow-headers", b"Content-Type, Prefer, Accept, Authorization"),
        (b"vary", b"Origin"),
    )


def describe(error: DrivetrainError) -> tuple[int, dict[str, Any]]:
    """The status and the body that an error is answered with."""
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
