"""What running predictions has in common, whether one at a time or many in one event loop."""

from __future__ import annotations

import inspect
from typing import Any, Callable, Dict, Optional, Sequence

from cog._scope import Scope  # the authors' module; on sys.path once the worker has been prepared

from drivetrain_worker import capture
from drivetrain_worker.channel import Channel, ServerGone
from drivetrain_worker.failure import describe_exception
from drivetrain_worker.forked import end_copy
from drivetrain_worker.loading import Model
from drivetrain_worker.outputs import OutputDirectory, OutputError, encode
from drivetrain_worker.protocol import Frame


class Run:
    """One prediction inside the worker: its inputs, its scope, and what it reports.

    Attributes:
        id: As the server named it.
    """

    def __init__(self, channel: Channel, model: Model, frame: Frame) -> None:
        self.id: str = frame["id"]
        self._values: Dict[str, Any] = frame["input"]
        self._fetched = frame.get("fetched") or ()
        self._entry_point = model.entry_point
        self.scope = Scope(frame.get("context") or {}, self._record_metric, self.id)
        self._channel = channel
        self._output_type: Dict[str, Any] = model.entry_point.output
        self._directory = OutputDirectory(frame["directory"])

    def bind(self) -> Any:
        """The arguments for the author's function; a context manager that closes the files among them."""
        return self._entry_point.bind(self._values, self._fetched)

    def items(self, result: Any) -> Any:
        """What a function that promises an iterator has returned, to iterate over; nothing is no items."""
        if result is None:
            return ()
        if not hasattr(result, "__iter__") and not hasattr(result, "__aiter__"):
            raise OutputError((), "is of type '%s', but the function promises an iterator; yield it" % type(result).__name__)
        return result

    def yielded(self, item: Any) -> None:
        """Report one item of an iterator."""
        frame = {"type": "output", "id": self.id, "output": self._encode(item, self._output_type.get("items"))}
        capture.flush()
        self._channel.send(frame)

    def returned(self, result: Any) -> Frame:
        """The frame that completes a prediction with its only result."""
        return {"type": "completed", "id": self.id, "status": "succeeded", "output": self._encode(result, self._output_type)}

    def ended(self) -> Frame:
        """The frame that completes a prediction whose items have been reported."""
        return {"type": "completed", "id": self.id, "status": "succeeded"}

    def canceled(self) -> Frame:
        """The frame that completes a prediction that was stopped."""
        return {"type": "completed", "id": self.id, "status": "canceled"}

    def failed(self, error: BaseException) -> Frame:
        """The frame that completes a prediction whose code raised; the traceback also goes into its log."""
        end_copy(error)
        failure = describe_exception(error)
        capture.write_error(failure["traceback"])
        return {"type": "completed", "id": self.id, "status": "failed", "failure": failure}

    def complete(self, frame: Frame) -> None:
        """Send the completing frame, after everything the prediction wrote."""
        capture.flush()
        try:
            self._channel.send(frame)
        except ValueError as error:  # the result cannot travel: too large, or not JSON after all
            self._channel.send(self.failed(error))

    def _encode(self, value: Any, declared: Optional[Dict[str, Any]]) -> Dict[str, Any]:
        end_copy()
        encoded, files = encode(value, self._directory.save, declared=declared)
        return {"value": encoded, "files": files} if files else {"value": encoded}

    def _record_metric(self, name: str, value: Any, mode: str) -> None:
        self._channel.send({"type": "metric", "id": self.id, "name": name, "value": value, "mode": mode})


def shared_scope(runs: Sequence[Run]) -> Any:
    """The scope of predictions that run together: a metric that is recorded counts for each of them."""

    def record(name: str, value: Any, mode: str) -> None:
        for run in runs:
            run.scope.record_metric(name, value, "incr" if mode == "increment" else mode)

    return runs[0].scope if len(runs) == 1 else Scope({}, record, runs[0].id)


def check_health(channel: Channel, healthcheck: Optional[Callable[[], Any]], wait_for: Callable[[Any], Any]) -> None:
    """Run the author's health check, and report, in a thread of its own.

    A check that hangs must not take from predictions the thread they run in, nor one that they may have to wait for.

    Args:
        channel: The way to the server.
        healthcheck: The check, if there is still one.
        wait_for: Called in that thread with what the check returns, if it is to be awaited; what comes of it.
    """
    import threading

    def check() -> Any:
        result = healthcheck() if healthcheck is not None else None
        return wait_for(result) if inspect.isawaitable(result) else result

    threading.Thread(target=report_health, args=(channel, check), daemon=True).start()


def report_health(channel: Channel, check: Callable[[], Any]) -> None:
    """Run the author's health check and report what it says: ``False`` or an exception is unhealthy, all else is healthy."""
    try:
        healthy = check() is not False
        message = None if healthy else "the model's healthcheck returned False"
    except BaseException as error:  # noqa: BLE001 (whatever an author's check raises says: unhealthy)
        healthy, message = False, "the model's healthcheck raised %s: %s" % (type(error).__name__, error)
    try:
        channel.send({"type": "health", "healthy": healthy, "message": message})
    except ServerGone:
        pass
