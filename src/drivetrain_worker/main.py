"""A worker's life: say hello, load the project, set it up, run predictions, stop."""

from __future__ import annotations

import faulthandler
import gc
import inspect
import os
import sys
from typing import TYPE_CHECKING, Any, Optional

from drivetrain_worker import capture, forked
from drivetrain_worker.channel import Channel, ServerGone
from drivetrain_worker.doorbell import Doorbell
from drivetrain_worker.failure import describe_exception
from drivetrain_worker.leaving import abandon, leave
from drivetrain_worker.protocol import VERSION, Frame

if TYPE_CHECKING:
    from drivetrain_worker.template_inheritance import Inheritance
    from drivetrain_worker.template_record import ImportRecorder


class _Stopped(BaseException):  # an order, not an error, and none of the author's to catch
    """The server told the worker to stop before it was ready."""


def main(descriptor: int, read_before: Optional[int] = None, inheritance: Optional[Inheritance] = None) -> None:
    """Live until the server says stop or goes away.

    Args:
        descriptor: A connected stream socket, inherited from the server.
        read_before: A pipe that holds what a predecessor has read from that socket and not answered.
        inheritance: What the process has from a template, if it was forked from one.
    """
    os.set_inheritable(descriptor, False)
    if inheritance is None:
        capture.install()
    else:
        capture.adopt()
    forked.install()
    faulthandler.enable()  # a crash in native code leaves its Python stack in the log
    channel = Channel(descriptor)
    if read_before is not None:
        with open(read_before, "rb") as pipe:
            channel.feed(pipe.read())
    worker = _Worker(channel, inheritance, "forked" if inheritance is not None else "fresh" if read_before is None else "afresh")
    try:
        channel.send({"type": "hello", "protocol": VERSION, "python": "%d.%d.%d" % sys.version_info[:3], "pid": os.getpid()})
        worker.live()
    except ServerGone:
        abandon()
    except _Stopped:
        pass
    leave(worker.loop)


def _import_asyncio() -> None:
    """Import what the session will need, while the server is on its way; for as long, the collector has nothing to do."""
    is_enabled = gc.isenabled()
    gc.disable()
    import drivetrain_worker.asynchronous  # noqa: F401 (used in the end)

    if is_enabled:
        gc.enable()


class _Worker:
    """A worker before it has anything to run.

    Attributes:
        loop: The event loop, once the model needed one.
    """

    def __init__(self, channel: Channel, inheritance: Optional[Inheritance], origin: str) -> None:
        self._channel = channel
        self._origin = origin
        self._inheritance = inheritance
        self._recorder: Optional[ImportRecorder] = None
        self.loop: Optional[Any] = None
        self._doorbell = Doorbell(channel, answer=self._answer_while_preparing, abandoned=abandon)

    def live(self) -> None:
        entry_point = self._load(self._channel.receive())
        if entry_point is None:
            return
        if entry_point.is_async:
            _import_asyncio()
        order = self._channel.receive()
        if order["type"] == "stop":
            return
        model = self._set_up(entry_point)
        if model is None:
            return
        self._channel.send({"type": "ready", "checks_health": model.healthcheck is not None})
        if self._recorder is not None:
            self._channel.send({"type": "imported", "origin": self._origin, **self._recorder.report()})
        self._session(model, order["concurrency"]).run()

    def _load(self, frame: Frame) -> Any:
        entry_point: Any = None
        try:
            with self._doorbell:
                entry_point = self._inherit(frame) if self._inheritance is not None else self._import(frame)
            if entry_point is None:
                assert self._inheritance is not None
                self._inheritance.start_afresh(self._channel, frame)
            capture.flush()
            self._channel.send({"type": "loaded", "signature": entry_point.description, "batches": entry_point.batches})
        except (_Stopped, ServerGone):
            raise
        except BaseException as error:  # noqa: BLE001 (reported; the server decides what follows)
            return self._broken("load", error)
        return entry_point

    def _import(self, frame: Frame) -> Any:
        from drivetrain_worker.loading import enter_project, find_entry_point, import_file

        enter_project(frame["root"])
        gc.enable()
        if frame.get("records"):
            from drivetrain_worker.template_record import ImportRecorder

            self._recorder = ImportRecorder(frame["root"])
            self._recorder.begin()
        module = import_file(frame["root"], frame["file"])
        entry_point = find_entry_point(module, frame["name"], mode=frame["mode"], takes_lists=frame["takes_lists"])
        if self._recorder is not None:
            self._recorder.loaded()
        return entry_point

    def _inherit(self, frame: Frame) -> Any:
        """The entry point as it is in a fork; ``None`` if what the template has done ahead is not what the project wants."""
        inheritance = self._inheritance
        assert inheritance is not None
        if inheritance.model is not None:
            return inheritance.model.entry_point if inheritance.is_for(frame) else None
        before = dict(os.environ)
        try:
            entry_point = self._import(frame)
        except _Stopped:
            raise
        except BaseException as error:  # noqa: BLE001 (the template may be to blame; a fresh process will tell)
            forked.end_copy(error)
            return None
        return entry_point if inheritance.is_as_recorded(before) else None

    def _set_up(self, entry_point: Any) -> Any:
        from drivetrain_worker.loading import setup_arguments

        if self._inheritance is not None and self._inheritance.model is not None:
            return self._inheritance.model
        try:
            with self._doorbell:
                model = entry_point.create()
                if model.setup is not None:
                    result = model.setup(**setup_arguments(model.setup))
                    if inspect.isawaitable(result):
                        self._wait_for(result)
        except _Stopped:
            raise
        except BaseException as error:  # noqa: BLE001 (reported; the server decides what follows)
            return self._broken("setup", error)
        finally:
            if self._recorder is not None:
                self._recorder.end()
        capture.flush()
        return model

    def _session(self, model: Any, concurrency: int) -> Any:
        if not model.entry_point.is_async:
            from drivetrain_worker.synchronous import SynchronousSession

            return SynchronousSession(self._channel, model, wait_for=self._wait_for)
        from drivetrain_worker.asynchronous import AsynchronousSession

        if concurrency > 1:
            capture.attribute(self._send_log)
        return AsynchronousSession(self._channel, model, self._event_loop())

    def _answer_while_preparing(self, frame: Frame) -> bool:
        if frame["type"] == "stop":
            raise _Stopped
        return False

    def _broken(self, stage: str, error: BaseException) -> None:
        failure = describe_exception(error)
        capture.write_error(failure["traceback"])
        capture.flush()
        self._channel.send({"type": "broken", "stage": stage, "failure": failure})

    def _send_log(self, prediction: str, stream: str, text: str) -> None:
        self._channel.send({"type": "log", "id": prediction, "source": stream, "data": text})

    def _event_loop(self) -> Any:
        """The one loop that an async set-up and all async predictions share, made when first needed."""
        import asyncio

        from drivetrain_worker.asynchronous import ContextExecutor

        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            self.loop.set_default_executor(ContextExecutor())
            asyncio.set_event_loop(self.loop)
        return self.loop

    def _wait_for(self, awaitable: Any) -> Any:
        return self._event_loop().run_until_complete(awaitable)
