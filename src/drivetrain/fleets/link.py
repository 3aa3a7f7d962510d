"""The platform's way to a runner: its model server's own HTTP API, over the Unix socket that it listens on."""

from __future__ import annotations

import asyncio
import urllib.parse
from collections import deque
from datetime import datetime, timezone
from typing import Any

import msgspec

from drivetrain.fleets.connection import Connection, ConnectionBroken
from drivetrain.fleets.events import LARGEST_EVENT_BYTES, EventDecoder, EventTooLarge, without
from drivetrain.model.prediction import Completed, Event, Failure, PredictionId, Status
from drivetrain.model.project import Mode
from drivetrain.platform.fleet import Answer, Job, RunnerLost, RunnerRefused

#: The noun in the paths of each mode.
_COLLECTION = {Mode.PREDICT: "predictions", Mode.TRAIN: "trainings"}

_ANSWERS = {409: Answer.BUSY, 503: Answer.UNAVAILABLE, 504: Answer.TIMEOUT}

#: How soon a runner is asked again that does not know yet of a prediction that is to be canceled.
_CANCEL_INTERVAL_SECONDS = 0.02

_STREAM_HEADERS = {"Accept": "text/event-stream", "Prefer": "return=minimal", "Content-Type": "application/json"}

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class RunnerLink:
    """Owns the connections to one runner: one for each prediction under way, kept for the next.

    Args:
        path: Of the socket.
        hidden: The URL that the runner has its files under. Who knows it may read and write them, so no message may name it.
    """

    def __init__(self, path: str, *, hidden: str) -> None:
        self.path = path
        self.hidden = hidden
        self._idle: list[Connection] = []
        self._under_way: dict[PredictionId, Mode] = {}
        self._canceled: set[PredictionId] = set()

    async def get(self, path: str) -> Any:
        """The JSON at a path.

        Raises:
            RunnerLost: There is no answer, or none of success.
        """
        status, body = await self._ask("GET", path)
        if status != 200:
            raise RunnerLost(f"the runner answered {status} to GET {path}")
        return _decode(body)

    def run(self, job: Job, refusal: RunnerRefused | None = None) -> _Events:
        """See ``Runner.run``; a ``refusal`` is raised instead."""
        return _Events(self, job, refusal)

    async def cancel(self, prediction_id: PredictionId) -> None:
        """See ``Runner.cancel``."""
        mode = self._under_way.get(prediction_id)
        if mode is None:
            return
        self._canceled.add(prediction_id)
        path = f"{_path(mode, prediction_id)}/cancel"
        while prediction_id in self._under_way:
            try:
                status, _ = await self._ask("POST", path)
            except RunnerLost:  # whoever runs the prediction meets that too
                return
            if status != 404:
                return
            await asyncio.sleep(_CANCEL_INTERVAL_SECONDS)  # its request is still on the way

    def close(self) -> None:
        """Close connections that are not in use. May be called twice."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _ask(self, method: str, path: str) -> tuple[int, bytes]:
        connection = await self.connect()
        try:
            connection.send(method, path, {}, b"")
            return await connection.status(), await connection.read_all()
        except ConnectionBroken as error:
            raise RunnerLost(f"the runner broke the connection on {method} {path}") from error
        finally:
            self.keep(connection)

    async def connect(self) -> Connection:
        """A connection that is idle: one that was kept, or a new one.

        Raises:
            RunnerLost: The runner takes none.
        """
        while self._idle:
            if (kept := self._idle.pop()).is_idle:
                return kept
        try:
            _, made = await asyncio.get_running_loop().create_unix_connection(Connection, self.path)
        except OSError as error:
            raise RunnerLost(f"the runner does not take connections: {error.strerror}") from error
        return made

    def keep(self, connection: Connection) -> None:
        """Keep a connection for the next prediction. To close one in the middle of an answer cancels what it runs."""
        if connection.is_idle:
            self._idle.append(connection)
        else:
            connection.close()

    def begin(self, job: Job) -> None:
        """A prediction is about to be sent, or sent again."""
        self._under_way[job.id] = job.mode

    def end(self, job: Job) -> bool:
        """A prediction is no longer under way. Whether it was to be canceled. May be called twice."""
        self._under_way.pop(job.id, None)
        was_canceled = job.id in self._canceled
        self._canceled.discard(job.id)
        return was_canceled


class _Events:
    """The events of one prediction, as they come. Not a generator, since each of those that is left early costs a task to close it.

    Args:
        link: To the runner.
        job: The prediction; sent when the first event is asked for.
        refusal: Raised instead.
    """

    def __init__(self, link: RunnerLink, job: Job, refusal: RunnerRefused | None) -> None:
        self._link = link
        self._job = job
        self._refusal = refusal
        self._connection: Connection | None = None
        self._decoder = EventDecoder(hidden=link.hidden)
        self._events: deque[Event] = deque()
        self._has_begun = False
        self._has_ended = False

    def __aiter__(self) -> _Events:
        return self

    async def __anext__(self) -> Event:
        if self._events:
            return self._events.popleft()
        if self._has_ended:
            raise StopAsyncIteration
        try:
            return await self._next()
        except ConnectionBroken as error:
            self.close()
            raise RunnerLost("the connection to the runner broke while it ran the prediction") from error
        except EventTooLarge:
            self.close()
            return _failed(f"an output of the model is larger than {LARGEST_EVENT_BYTES} bytes; return large outputs as files")
        except BaseException:
            self.close()
            raise

    async def aclose(self) -> None:
        """Cancel the prediction, if it is under way. May be called twice."""
        self.close()

    def close(self) -> None:
        """The same."""
        if self._connection is not None:
            self._connection.close()
        self._finish()

    def __del__(self) -> None:
        if self._connection is not None:  # dropped by somebody who did not close it
            self.close()

    async def _next(self) -> Event:
        if self._refusal is not None:
            raise self._refusal
        if not self._has_begun:
            self._has_begun = True
            self._link.begin(self._job)
            if (refused := await self._begin()) is not None:
                return refused
        assert self._connection is not None
        while not self._events:
            data = await self._connection.read()
            if not data:
                raise RunnerLost("the runner did not tell how the prediction ended")
            self._events.extend(self._decoder.feed(data))
        if isinstance(ending := self._events[-1], Completed):
            await self._connection.read()  # to its end, so that it can be kept
            self._link.keep(self._connection)
            if not self._finish() and ending.status is Status.CANCELED:
                raise RunnerLost("the runner canceled the prediction, which nobody had asked for")
        return self._events.popleft()

    def _finish(self) -> bool:
        self._has_ended = True
        self._connection = None
        return self._link.end(self._job)

    async def _begin(self) -> Completed | None:
        """Send the job; if its request was wrong, the end of the prediction.

        A connection that was kept may be closed by the other side just when it is used again. Then nothing has come back, and
        sending again is harmless: a prediction that is under way under the same id is joined, not run a second time.
        """
        job = self._job
        headers = {**_STREAM_HEADERS, "traceparent": _header_value(job.trace)} if job.trace else _STREAM_HEADERS
        body = _encode({"input": job.input, "context": job.context} if job.context else {"input": job.input})
        while True:
            self._connection = await self._link.connect()
            was_reused = self._connection.is_reused
            self._connection.send("PUT", _path(job.mode, job.id), headers, body)
            try:
                status = await self._connection.status()
            except ConnectionBroken as error:
                if not was_reused or error.was_answered:
                    raise
                continue
            if status == 200:
                return None
            refused = _refusal(status, await self._connection.read_all(), hidden=self._link.hidden)
            self._link.keep(self._connection)
            self._finish()
            return refused


def _refusal(status: int, body: bytes, *, hidden: str) -> Completed:
    """The end of a prediction whose request was wrong.

    Raises:
        RunnerRefused: It was not; the runner could not take it.
    """
    message = without(hidden, _message(body)) or f"the runner answered {status}"
    if 400 <= status < 500 and status not in _ANSWERS:
        return _failed(message)
    raise RunnerRefused(_ANSWERS.get(status, Answer.SERVER_ERROR), message)


def _message(body: bytes) -> str:
    try:
        detail = _decode(body)["detail"]
    except (msgspec.DecodeError, LookupError, TypeError):
        return ""
    if isinstance(detail, str):
        return detail
    return "; ".join(f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in detail)


def _path(mode: Mode, prediction_id: PredictionId) -> str:
    return f"/{_COLLECTION[mode]}/{urllib.parse.quote(prediction_id, safe='')}"


def _header_value(text: str) -> str:
    return "".join(character for character in text if " " <= character <= "~")


def _failed(message: str) -> Completed:
    return Completed(status=Status.FAILED, at=datetime.now(timezone.utc), failure=Failure(message=message))
