"""The connection between a model server and the platform that started it: an order goes in, reports come out, its end is the end.

The platform holds one end, the process the other. The first line that comes is the order, what is sent back are reports, each a
line of JSON. Nothing else is ever said; the connection stays open for as long as both live. The kernel closes it when one of them
dies, however it dies: then a server whose platform is gone ends at once, with all that it and its model have started, so that no
orphan keeps a GPU.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from typing import Any, NoReturn, TypeAlias

import msgspec

from drivetrain.model.errors import DrivetrainError, ProjectError
from drivetrain.serving import family

#: Set for every process of a runner but the model server itself; what left all groups is found by it.
MARK_VARIABLE = "DRIVETRAIN_LIFELINE"

_READ_BYTES = 64 * 1024


class ServeOrder(msgspec.Struct, frozen=True, kw_only=True, tag="serve"):
    """Serve a project.

    Attributes:
        project: Directory of the project, for this server alone.
        socket: Path of the Unix socket to listen on.
        temporary: Directory for temporary files.
        data: Directory that the app's runners share.
        data_place: Where the model finds it besides, if it is to be mounted.
        name: What the project is known by, whose directory is another for each server.
        records: Where it is noted what the project imports, for templates; ``None`` where none are kept.
        mark: Value of ``MARK_VARIABLE``.
        environ: The environment that the model's starts from.
        variables: Variables on top of the environment's and the project's own.
        files_url: See ``RunnerOrder`` of the platform.
        concurrency: Predictions at once; ``None`` takes what the project says.
        mode: ``predict`` or ``train``.
        cancel_grace: Seconds that a prediction may take to obey its cancelation.
        memory: Bytes that each process of the runner may allocate.
        ordered_at: When the order was given, by the machine's monotonic clock.
    """

    project: str
    socket: str
    temporary: str
    data: str
    data_place: str | None
    name: str
    records: str | None
    mark: str
    environ: dict[str, str]
    variables: dict[str, str]
    files_url: str
    concurrency: int | None
    mode: str
    cancel_grace: float
    memory: int | None
    ordered_at: float


class BuildOrder(msgspec.Struct, frozen=True, kw_only=True, tag="build"):
    """Make the environment of the project in a directory.

    Attributes:
        mark: Value of ``MARK_VARIABLE``.
    """

    project: str
    mark: str


Order: TypeAlias = ServeOrder | BuildOrder


class ReadyReport(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """The model can run predictions.

    Attributes:
        signature: Of predictions, in its wire form.
        train_signature: Of trainings, if there are any.
        phases: Seconds that each part of the start took.
    """

    concurrency: int
    signature: dict[str, Any] | None
    train_signature: dict[str, Any] | None
    phases: dict[str, float]


class FailedReport(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """The model could not be set up; the server ends.

    Attributes:
        traceback: The author's frames, if the code raised.
    """

    message: str
    traceback: str | None


class BuiltReport(msgspec.Struct, frozen=True, kw_only=True, tag="built"):
    """The environment is there."""


class RefusedReport(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """An order could not be carried out.

    Attributes:
        is_project: Whether it is the project that must be mended.
    """

    is_project: bool
    message: str
    hint: str | None
    detail: str | None


Report: TypeAlias = ReadyReport | FailedReport | BuiltReport | RefusedReport

_encode = msgspec.json.Encoder().encode
_orders: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)
_reports: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)


def encode_order(order: Order) -> bytes:
    """The line for an order."""
    return _encode(order) + b"\n"


class ReportDecoder:
    """Holds the line that has not come whole."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> Iterator[Report]:
        """Reports that are whole now, in order."""
        *lines, self._pending = (self._pending + data).split(b"\n")
        yield from map(_reports.decode, lines)


class Lifeline:
    """The end of a process that was started for a platform.

    Args:
        connection: The connection; the order is read from it now.

    Attributes:
        order: What to do.
        door: What came with the order: a connection to a template that workers can be forked from.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.door: socket.socket | None = None
        self.order = self._read_order()

    def watch(self) -> None:
        """From now on, end the process when the platform ends.

        A thread does it, since it must come to pass also while the event loop is busy, or before there is one.
        """
        threading.Thread(target=self._wait_for_end, name="lifeline", daemon=True).start()

    def report(self, report: Report) -> None:
        """Tell the platform."""
        self._connection.sendall(_encode(report) + b"\n")

    def refuse(self, error: DrivetrainError) -> None:
        """Tell the platform that the order cannot be carried out."""
        detail = "\n".join(filter(None, (error.detail, *_findings(error)))) or None
        self.report(
            RefusedReport(is_project=isinstance(error, ProjectError), message=error.message, hint=error.hint, detail=detail)
        )

    def _read_order(self) -> Order:
        line = bytearray()
        while not line.endswith(b"\n"):
            data, descriptors, _, _ = socket.recv_fds(self._connection, _READ_BYTES, 1)
            if not data:
                os._exit(1)  # nobody wants anything
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
                self.door = socket.socket(fileno=descriptor)
            line += data
        return _orders.decode(line)

    def _wait_for_end(self) -> NoReturn:
        try:
            while self._connection.recv(_READ_BYTES):
                pass
        finally:
            family.kill_marked(MARK_VARIABLE, self.order.mark)
            os._exit(1)


def _findings(error: DrivetrainError) -> Iterator[str]:
    return map(str, error.findings) if isinstance(error, ProjectError) else iter(())
