"""Run predictions of an async model, several at once, in one event loop on the main thread."""

from __future__ import annotations

import asyncio
import inspect
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Callable, Coroutine, Dict, List, Optional, Set

from cog._scope import enter, leave  # the authors' module; on sys.path once the worker has been prepared

from drivetrain_worker import capture
from drivetrain_worker.batch import Batch, tell_of_retry
from drivetrain_worker.channel import Channel, ServerGone
from drivetrain_worker.doorbell import EndWatch
from drivetrain_worker.leaving import abandon
from drivetrain_worker.loading import Model
from drivetrain_worker.protocol import Frame
from drivetrain_worker.session import Run, check_health, report_health, shared_scope


class ContextExecutor(ThreadPoolExecutor):
    """Runs a call in the context it was given in, so that what it prints and records belongs to the right prediction."""

    def submit(self, call: Any, /, *args: Any, **keywords: Any) -> Any:
        """As ``ThreadPoolExecutor.submit``."""
        return super().submit(copy_context().run, call, *args, **keywords)


class AsynchronousSession:
    """Turns each ``predict`` frame into a task until it is told to stop.

    Args:
        channel: The way to the server.
        model: A model that has been set up, on ``loop`` if its set-up was async.
        loop: The loop that set-up and all predictions share, so that clients bound to it live on.
    """

    def __init__(self, channel: Channel, model: Model, loop: asyncio.AbstractEventLoop) -> None:
        self._channel = channel
        self._model = model
        self._loop = loop
        self._end_watch = EndWatch(channel, abandon)
        self._tasks: Dict[str, Optional["asyncio.Task[None]"]] = {}
        self._to_cancel: Set[str] = set()
        self._health_tasks: Set[Any] = set()
        self._is_to_stop = False
        self._has_stopped = False

    def run(self) -> None:
        """Serve until a ``stop`` frame."""
        self._loop.add_reader(self._channel.descriptor, self._take_in)
        self._loop.call_soon(self._take_in)  # frames that came during set-up are already here
        while not self._has_stopped:  # the author's code may stop the loop too
            self._loop.run_forever()

    def _take_in(self) -> None:
        try:
            for frame in self._channel.poll_once():
                self._answer(frame)
        except ServerGone:
            abandon()

    def _answer(self, frame: Frame) -> None:
        kind = frame["type"]
        if kind == "predict":
            self._begin(self._predict(frame), [frame["id"]])
        elif kind == "predict_together":
            self._begin(self._predict_together(frame["predictions"]), [one["id"] for one in frame["predictions"]])
        elif kind == "cancel":
            task = self._tasks.get(frame["id"])
            if task is not None:
                self._to_cancel.add(frame["id"])
                self._loop.call_soon(task.cancel)  # not before its first step, which would be its last: nothing would be reported
        elif kind == "check_health":
            self._check_health()
        elif kind == "stop":
            self._is_to_stop = True
            self._stop_when_idle()

    def _begin(self, work: Coroutine[Any, Any, None], ids: List[str]) -> None:
        if not self._tasks:
            self._end_watch.begin()
        self._tasks.update(dict.fromkeys(ids))
        task = self._loop.create_task(work)  # with the author's task factory it may be complete already
        for each in ids:
            if each in self._tasks:
                self._tasks[each] = task

    def _complete(self, run: Run, completed: Frame) -> None:
        self._to_cancel.discard(run.id)
        del self._tasks[run.id]
        run.complete(completed)
        if not self._tasks:
            self._end_watch.end()
            self._stop_when_idle()

    def _stop_when_idle(self) -> None:
        if self._is_to_stop and not self._tasks and not self._has_stopped:
            self._has_stopped = True
            self._loop.stop()

    async def _predict(self, frame: Frame) -> None:
        if self._model.entry_point.takes_lists:
            await self._predict_together([frame])
            return
        run = Run(self._channel, self._model, frame)
        entered = enter(run.scope)
        capture.running_prediction.set(run.id)
        try:
            completed = await self._call(run)
        except BaseException as error:  # noqa: BLE001 (SystemExit and the like end the prediction, not the worker)
            completed = run.canceled() if self._was_canceled(error, [run.id]) else run.failed(error)
        leave(entered)
        self._complete(run, completed)

    async def _predict_together(self, frames: List[Frame]) -> None:
        """Run predictions with one call; if that fails, each alone, since one of them must not fail the others."""
        runs = [Run(self._channel, self._model, frame) for frame in frames]
        entered = enter(shared_scope(runs))
        with Batch(runs) as batch:
            try:
                batch.distribute(await _awaited(self._model.call_together(batch.arguments)))
            except BaseException as error:  # noqa: BLE001 (as for a prediction alone)
                if self._was_canceled(error, [run.id for run in batch.runs]):
                    batch.completed.update((run.id, run.canceled()) for run in batch.runs)
                elif len(batch.runs) == 1:
                    batch.completed[batch.runs[0].id] = batch.runs[0].failed(error)
                else:
                    tell_of_retry(error)
        leave(entered)
        for run, frame in zip(runs, frames):
            if run.id in batch.completed:
                self._complete(run, batch.completed[run.id])
            else:
                await self._predict_together([frame])

    def _was_canceled(self, error: BaseException, ids: List[str]) -> bool:
        # A CancelledError that nobody asked for comes from the author's own tasks, and is a failure like any other.
        from cog.errors import CancelationException

        return isinstance(error, (asyncio.CancelledError, CancelationException)) and any(each in self._to_cancel for each in ids)

    async def _call(self, run: Run) -> Frame:
        with run.bind() as arguments:
            result = self._model.call(**arguments)
            if inspect.isawaitable(result):
                result = await result
            if not self._model.entry_point.streams:
                return run.returned(result)
            items = run.items(result)
            if hasattr(items, "__aiter__"):
                await _report_items(run, items)
            else:
                for item in items:
                    run.yielded(item)
            return run.ended()

    def _check_health(self) -> None:
        healthcheck = self._model.healthcheck
        if healthcheck is None or not inspect.iscoroutinefunction(healthcheck):
            check_health(self._channel, healthcheck, self._wait_for)
            return
        task = self._loop.create_task(self._await_health(healthcheck))
        self._health_tasks.add(task)
        task.add_done_callback(self._health_tasks.discard)

    async def _await_health(self, healthcheck: Callable[[], Any]) -> None:
        try:
            result: Any = await healthcheck()
        except BaseException as error:  # noqa: BLE001 (reported as unhealthy)
            result = error
        report_health(self._channel, lambda: _value_or_raise(result))

    def _wait_for(self, awaitable: Any) -> Any:
        """In another thread: what comes of something to await in the loop."""
        return asyncio.run_coroutine_threadsafe(_awaited(awaitable), self._loop).result()


async def _report_items(run: Run, items: Any) -> None:
    try:
        async for item in items:
            run.yielded(item)
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()


def _value_or_raise(result: Any) -> Any:
    if isinstance(result, BaseException):
        raise result
    return result


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
