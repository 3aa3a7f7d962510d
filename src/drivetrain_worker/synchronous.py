"""Run predictions one at a time on the main thread, with no event loop in it.

So ``signal.signal``, ``asyncio.run`` and everything else that wants the main thread work in ``predict`` as they do in a script.
"""

from __future__ import annotations

import inspect
from typing import Any, Callable, Iterator, List, Optional, Sequence, Set

from cog._scope import enter, leave  # the authors' module; on sys.path once the worker has been prepared

from drivetrain_worker import capture
from drivetrain_worker.batch import Batch, tell_of_retry
from drivetrain_worker.channel import Channel
from drivetrain_worker.doorbell import Doorbell
from drivetrain_worker.leaving import abandon
from drivetrain_worker.loading import Model
from drivetrain_worker.protocol import Frame
from drivetrain_worker.session import Run, check_health, shared_scope


class SynchronousSession:
    """Takes one prediction after the other until it is told to stop.

    Args:
        channel: The way to the server.
        model: A model that has been set up.
        wait_for: Runs a coroutine to its end, on the loop that an async ``setup`` used.
    """

    def __init__(self, channel: Channel, model: Model, *, wait_for: Callable[[Any], Any]) -> None:
        self._channel = channel
        self._model = model
        self._wait_for = wait_for
        self._running: Set[str] = set()
        self._doorbell = Doorbell(channel, answer=self._answer_while_running, abandoned=abandon)

    def run(self) -> None:
        """Serve until a ``stop`` frame.

        Raises:
            ServerGone: The server closed the connection.
        """
        while True:
            frame = self._channel.receive()
            kind = frame["type"]
            if kind == "predict":
                self._predict(Run(self._channel, self._model, frame))
            elif kind == "predict_together":
                self._predict_together([Run(self._channel, self._model, one) for one in frame["predictions"]])
            elif kind == "check_health":
                self._check_health()
            elif kind == "stop":
                return
            # A cancel that comes after its prediction has ended has nothing left to do.

    def _predict(self, run: Run) -> None:
        if self._model.entry_point.takes_lists:
            self._predict_together([run])
            return
        run.complete(self._guard([run], run.scope, lambda: self._call(run), run.failed))

    def _predict_together(self, runs: List[Run]) -> None:
        """Run predictions with one call; if that fails, each alone, since one of them must not fail the others."""
        with Batch(runs) as batch:
            alone = len(batch.runs) == 1

            def fail(error: BaseException) -> Optional[Frame]:
                if alone:
                    batch.completed[batch.runs[0].id] = batch.runs[0].failed(error)
                else:
                    tell_of_retry(error)
                return None

            def call() -> None:
                results = self._model.call_together(batch.arguments)
                batch.distribute(self._wait_for(results) if inspect.isawaitable(results) else results)

            if batch.runs:
                canceled = self._guard(batch.runs, shared_scope(batch.runs), call, fail)
                if canceled is not None:
                    batch.completed.update((run.id, run.canceled()) for run in batch.runs)
        for run in runs:
            if run.id in batch.completed:
                run.complete(batch.completed[run.id])
            else:
                self._predict_together([run])

    def _guard(
        self,
        runs: Sequence[Run],
        scope: Any,
        call: Callable[[], Optional[Frame]],
        fail: Callable[[BaseException], Optional[Frame]],
    ) -> Any:
        """Call the author's code so that it can be canceled and cannot end the worker; what to complete with."""
        from cog.errors import CancelationException

        self._running = {run.id for run in runs}
        token = enter(scope)
        attribution = capture.running_prediction.set(runs[0].id)
        try:
            with self._doorbell:
                return call()
        except CancelationException:
            return runs[0].canceled()
        except BaseException as error:  # noqa: BLE001 (SystemExit and the like end the prediction, not the worker)
            return fail(error)
        finally:
            self._running = set()
            capture.running_prediction.reset(attribution)
            leave(token)

    def _call(self, run: Run) -> Frame:
        with run.bind() as arguments:
            result = self._model.call(**arguments)
            if inspect.isawaitable(result):  # a plain function that wraps an async one
                result = self._wait_for(result)
            if not self._model.entry_point.streams:
                return run.returned(result)
            for item in _closing(run.items(result)):
                run.yielded(item)
            return run.ended()

    def _answer_while_running(self, frame: Frame) -> bool:
        from cog.errors import CancelationException

        kind = frame["type"]
        if kind == "cancel":
            if frame["id"] in self._running:
                raise CancelationException
        elif kind == "check_health":
            self._check_health()
        else:
            return False
        return True

    def _check_health(self) -> None:
        check_health(self._channel, self._model.healthcheck, _run)


def _closing(items: Any) -> Iterator[Any]:
    """Iterate, and close a generator however the iteration ends, so that its clean-up runs now and not at some collection."""
    try:
        yield from items
    finally:
        close = getattr(items, "close", None)
        if close is not None and inspect.isgenerator(items):
            close()


def _run(awaitable: Any) -> Any:
    import asyncio

    return asyncio.run(_awaited(awaitable))


async def _awaited(value: Any) -> Any:
    return await value
