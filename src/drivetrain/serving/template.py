"""A template process as its owner's event loop sees it: it prepares, then workers can be forked from it, and one day it has ended.

    preparing ──prepared──▶ ready ──▶ ended
        └──refused, or ended──────────────┘

Only the owner's connection keeps it alive: when the owner ends, however it ends, so does the template.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import threading
import uuid
from collections.abc import Callable
from enum import Enum
from typing import Any

from drivetrain.model.prediction import Log
from drivetrain.serving import family
from drivetrain.serving.launch import LaunchedWorker, WorkerCommand, entry_point_of, start_process
from drivetrain.serving.log_stream import LogDecoder
from drivetrain.serving.process import ending_of
from drivetrain.serving.spawning import connections
from drivetrain.serving.template_fork import Door

_READ_BYTES = 256 * 1024
#: One that has no worker ends by itself, and may remove first what the project's set-up has put somewhere.
_CLEAN_UP_SECONDS = 5.0

_LENGTH = struct.Struct(">I")


class Verdict(Enum):
    """What a template says about itself."""

    READY = "ready"
    UNSAFE = "unsafe"  #: forks would not go well; nor will they the next time
    FAILED = "failed"  #: the author's set-up has failed


class Template:
    """Owns a template process. To be made in the event loop.

    Attributes:
        settled: Done when it is ready, or known never to be.
        verdict: What it said itself, if it did not just end.
        ended: Done when the process is gone.
        refusal: Why it is of no use, as in "it holds an open connection"; ``None`` while it is ready or may become so.

    Args:
        command: How workers of the project are started.
        order: What to prepare; from ``imports_order`` or ``set_up_order``.
        log: Told what it writes meanwhile.

    Raises:
        OSError: The process cannot be started.
    """

    def __init__(self, command: WorkerCommand, order: dict[str, Any], log: Callable[[Log], None]) -> None:
        loop = asyncio.get_running_loop()
        self.settled: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.refusal: str | None = None
        self.verdict: Verdict | None = None
        self._loop = loop
        self._log = log
        self._texts = LogDecoder()
        self._buffer = b""
        self._family = uuid.uuid4().hex
        with connections() as ends:
            arguments = ["template", str(ends.their_connection.fileno())]
            self._process = start_process(command, arguments, ends, self._family)
            self._connection = ends.connection
            self._output = ends.log
        self._door = Door(self._connection)
        os.set_blocking(self._output, False)
        loop.add_reader(self._connection.fileno(), self._read_answers)
        loop.add_reader(self._output, self._read_output)
        threading.Thread(target=self._wait, args=(order,), name=f"template-{self._process.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def is_ready(self) -> bool:
        """Whether workers can be forked."""
        return self.settled.done() and self.refusal is None

    def fork(self, command: WorkerCommand) -> LaunchedWorker:
        """Have a worker forked. Blocks, and may be called in any thread.

        Raises:
            TemplateRefused: There is none.
        """
        return self._door.fork(command)

    def introduce(self) -> socket.socket:
        """A connection over which another process can have workers forked.

        Raises:
            TemplateRefused: The process is gone.
        """
        return self._door.introduce()

    def kill(self) -> None:
        """End the process; workers that were forked from it live on. May be called twice."""
        if self.verdict in (Verdict.UNSAFE, Verdict.FAILED):
            self._loop.call_later(_CLEAN_UP_SECONDS, self._kill)
        else:
            self._kill()

    def _kill(self) -> None:
        if not self.ended.done():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def _wait(self, order: dict[str, Any]) -> None:
        """In a thread of its own, as for a worker."""
        try:
            self._door.send(order)
        except OSError:  # it has ended at once; or it has half an order, and would wait for the rest of it
            self._process.kill()
        self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(self._end)

    def _read_answers(self) -> None:
        try:
            data = self._connection.recv(_READ_BYTES)
        except (BlockingIOError, TimeoutError):
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._connection.fileno())
            return
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if len(self._buffer) < _LENGTH.size + length:
                break
            answer = json.loads(self._buffer[_LENGTH.size : _LENGTH.size + length])
            self._buffer = self._buffer[_LENGTH.size + length :]
            self.verdict = Verdict.READY if answer["type"] == "prepared" else Verdict.UNSAFE if answer["lasts"] else Verdict.FAILED
            self._settle(answer.get("reason"))

    def _settle(self, refusal: str | None) -> None:
        self._read_output()  # what it wrote meanwhile comes before what follows from it
        if not self.settled.done():
            self.refusal = refusal
            self.settled.set_result(None)

    def _read_output(self) -> None:
        while True:
            try:
                data = os.read(self._output, _READ_BYTES)
            except OSError:  # nothing is there now, or it is closed
                return
            if not data:
                self._loop.remove_reader(self._output)
                return
            for log in self._texts.feed(data):
                self._log(log)

    def _end(self) -> None:
        family.kill(self.pid, self._family)
        self._read_answers()
        self._settle(f"it {ending_of(self._process)}")
        if self.refusal is None:
            self.refusal = f"it {ending_of(self._process)}"
        for log in self._texts.finish():
            self._log(log)
        self._loop.remove_reader(self._connection.fileno())
        self._loop.remove_reader(self._output)
        self._door.close()
        os.close(self._output)
        self.ended.set_result(None)


def imports_order(command: WorkerCommand, journal: Any, changes: Any) -> dict[str, Any]:
    """Import what was recorded."""
    reference = entry_point_of(command.project, command.mode)
    return {
        "type": "prepare",
        "kind": "imports",
        "root": str(command.project.root),
        "file": reference.file,
        "journal": journal,
        "changes": changes,
    }


def set_up_order(load: dict[str, Any]) -> dict[str, Any]:
    """Load and set up the project itself; ``load`` is what workers are told to load."""
    return {"type": "prepare", "kind": "after_setup", "load": load}
