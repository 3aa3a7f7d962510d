"""The model server's use cases: run a prediction, look at it, cancel it, say how the model is.

The command line and the HTTP API are both views over this; neither decides anything about a prediction.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from drivetrain.model.errors import BadRequest, DrivetrainError, OutsideFailed
from drivetrain.model.inputs import CheckedInputs, InputChecker, replace_places
from drivetrain.model.prediction import Prediction, PredictionId
from drivetrain.model.project import Mode
from drivetrain.serving.input_files import InputFiles
from drivetrain.serving.launch import LaunchedWorker
from drivetrain.serving.registry import Registry
from drivetrain.serving.run import Run, now
from drivetrain.serving.scratch import Scratch
from drivetrain.serving.statistics import Statistics
from drivetrain.serving.supervisor import START_FAULT, ModelState, Supervisor

#: How long idle workers may take to end.
_WORKER_GRACE = timedelta(seconds=10)


class NotReady(OutsideFailed):
    """The model cannot run predictions (yet, or any more)."""

    code = "not_ready"


class AtCapacity(OutsideFailed):
    """Every slot, and every place to wait for one, is taken."""

    code = "at_capacity"


class PredictionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody asks to have run.

    Attributes:
        input: Unchecked inputs.
        id: The asker's id for it, or one made by us.
        context: Passed to the model's ``current_scope().context``.
        created_at: When the asker says it was created.
        local_files: Whether the asker may name files of this machine: the command line may, a client over HTTP may not.
    """

    id: str
    input: Mapping[str, Any]
    context: Mapping[str, str] = {}
    created_at: datetime | None = None
    local_files: bool = False


class ServerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to serve.

    Attributes:
        queue: How many predictions may wait for a slot before more are refused.
        keep: How many ended predictions stay known.
        keep_for: How long an ended prediction stays known.
        history: How many of a prediction's latest events are told to streams that attach late.
        shutdown_grace: How long predictions that are under way may take to end when the server stops.
        temporary: The directory for temporary files; ``None`` is the usual one.
    """

    queue: int = 0
    keep: int = 100
    keep_for: timedelta = timedelta(minutes=15)
    history: int = 1024
    shutdown_grace: timedelta = timedelta(seconds=30)
    temporary: str | None = None


class ModelServer:
    """Owns the predictions of one model, and the directory of their files.

    Args:
        supervisor: Runs them.
        options: How to serve.
        input_files: Brings the files that inputs name.
        mode: Whether its runs are predictions or trainings.
        ended: Called with every prediction that has ended.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        options: ServerOptions,
        input_files: InputFiles,
        *,
        mode: Mode = Mode.PREDICT,
        ended: Callable[[Prediction], None] = lambda _prediction: None,
    ) -> None:
        self.supervisor = supervisor
        self.mode = mode
        self.statistics = Statistics()
        self._ended = ended
        self._options = options
        self._input_files = input_files
        self._registry = Registry(keep=options.keep, keep_for=options.keep_for)
        self._scratch = Scratch(options.temporary)
        self._checker: InputChecker | None = None
        self._preparing: set[asyncio.Task[None]] = set()
        self._is_stopping = False
        self._numbers = 0

    def start(self, first: LaunchedWorker | None = None) -> None:
        """Start the model's workers; returns before they are ready."""
        self.supervisor.start(first)

    def create(self, request: PredictionRequest, *, accepted: Callable[[Run], None] = lambda _run: None) -> Run:
        """Accept a prediction and set it going.

        An id is run once: a prediction that is under way under the same id, or has ended a short while ago, is returned instead.

        Args:
            request: What is asked.
            accepted: Called with a new run before anything happens to it, to watch it from its first event on.

        Raises:
            NotReady: The model is not set up.
            AtCapacity: Too many are under way.
            InvalidInputs: The inputs do not fit the signature.
        """
        if (known := self._registry.get(request.id, now())) is not None:
            return known
        self._require_readiness()
        if len(self._registry) >= self.supervisor.capacity + self._options.queue:
            raise AtCapacity(f"all {self.supervisor.capacity} prediction slots are busy")
        checked = self._check(request)
        run = self._new_run(request, checked)
        try:
            accepted(run)
            if checked.files:
                preparation = self._spawn(self._prepare(run, checked))
                run.at_end(lambda: _give_up(preparation, run))
            else:
                self.supervisor.submit(run)
        except BaseException:
            run.fail(START_FAULT)  # nobody else knows of it
            raise
        return run

    def get(self, run_id: str) -> Run | None:
        """A prediction that is under way or has ended a short while ago."""
        return self._registry.get(run_id, now())

    @property
    def under_way(self) -> int:
        """How many predictions have been accepted and have not ended."""
        return len(self._registry)

    def known(self) -> Iterator[Run]:
        """Predictions that ``get`` would find: those under way, then those that have ended, each oldest first."""
        return self._registry.known(now())

    def leave(self, run: Run) -> None:
        """A client that waited has gone: cancel a prediction that was for its clients alone, if no other is left."""
        if run.ends_with_its_clients and run.attendants == 0:
            self.supervisor.cancel(run)

    def new_directory(self) -> str:
        """A path for files of one request, below the server's directory; nothing is there yet."""
        self._numbers += 1  # an id is the client's word, and no name for a directory
        return f"{self._scratch.path}/{self._numbers}"

    def cancel(self, run_id: str) -> bool:
        """Cancel a prediction. Whether one of that id was under way."""
        run = self._registry.get(run_id, now())
        if run is None or run.is_finished:
            return False
        self.supervisor.cancel(run)
        return True

    async def stop(self) -> None:
        """Take no more predictions, let those under way finish within the grace, end the workers. May be called twice.

        Files stay, since the ends of predictions are yet to be told; see ``discard_files``.
        """
        self._is_stopping = True
        all_finished = await self._wait_for_ends()
        for task in self._preparing:
            task.cancel()
        if self._preparing:
            await asyncio.wait(self._preparing)
        await self.supervisor.stop(_WORKER_GRACE if all_finished else timedelta(0))
        self._fail_the_rest()  # whose worker is done, but whose files are still being uploaded
        await self._input_files.aclose()

    def hurry(self) -> None:
        """Let a stop, under way or to come, wait for nothing."""
        self._is_stopping = True
        self.supervisor.kill()
        self._fail_the_rest()  # those that no worker has, or has any more, would take as long as their files do

    def discard_files(self) -> None:
        """Delete the files of all predictions. May be called twice."""
        self._scratch.remove()

    def _fail_the_rest(self) -> None:
        for run in self._registry.under_way():
            run.fail("The model server was shut down before this prediction had ended.", worker_lost=True)

    async def _wait_for_ends(self) -> bool:
        """Wait until no prediction is under way, within the grace; whether it came to that."""
        ends = [asyncio.ensure_future(run.finished()) for run in self._registry.under_way()]
        if not ends:
            return True
        _, late = await asyncio.wait(ends, timeout=self._options.shutdown_grace.total_seconds())
        for end in late:
            end.cancel()
        return not late

    def _require_readiness(self) -> None:
        if self._is_stopping:
            raise NotReady("The model server is shutting down.")
        state = self.supervisor.state
        if state is ModelState.READY:
            return
        failure = self.supervisor.setup.failure
        if state is ModelState.STARTING:
            raise NotReady("Setup has not finished yet.", hint="ask /health-check until its status is READY")
        if failure is not None:
            raise NotReady(f"Setup failed: {failure.message}", hint="/health-check has the log")
        raise NotReady(f"The model is {state.value}.")

    def _check(self, request: PredictionRequest) -> CheckedInputs:
        assert self.supervisor.signature is not None
        if self._checker is None or self._checker.signature is not self.supervisor.signature:
            self._checker = InputChecker(self.supervisor.signature)
        return self._checker.check(request.input, local_files=request.local_files)

    def _new_run(self, request: PredictionRequest, checked: CheckedInputs) -> Run:
        signature = self.supervisor.signature
        assert signature is not None
        prediction = Prediction(
            id=PredictionId(request.id),
            mode=self.mode,
            input=checked.shown,
            created_at=request.created_at or now(),
            streams=signature.streams,
            context=request.context,
        )
        run = Run(prediction, checked.values, self.new_directory(), history=self._options.history, ended=self._record_end)
        self._registry.add(run)
        return run

    def _record_end(self, run: Run) -> None:
        self._registry.end(run, run.prediction.completed_at or now())
        self.statistics.record(run.prediction)
        self._ended(run.prediction)

    async def _prepare(self, run: Run, checked: CheckedInputs) -> None:
        run.has_files = True
        try:
            paths = await self._input_files.fetch(checked.files, run.input_directory)
            run.inputs = replace_places(checked.values, paths)
            run.fetched = list(paths.values())
            if not run.is_finished:  # canceled meanwhile
                self.supervisor.submit(run)
        except BadRequest as error:
            run.fail(f"Input validation error: {error.message}")
        except DrivetrainError as error:
            run.fail(error.message)
        except asyncio.CancelledError:
            run.fail("The model server was shut down before this prediction started.", worker_lost=True)
            raise
        except Exception:
            run.fail("Its input files could not be brought: the server has a fault, and its log says more.")
            raise

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._preparing.add(task)
        task.add_done_callback(self._preparing.discard)
        return task


def _give_up(preparation: asyncio.Task[None], run: Run) -> None:
    preparation.cancel()  # of a prediction that was canceled before its files were here
    run.discard_inputs()


@contextlib.asynccontextmanager
async def serving(server: ModelServer, first: LaunchedWorker | None = None) -> AsyncIterator[ModelServer]:
    """Start a model server, and stop it at the end whatever happens."""
    try:
        server.start(first)
        yield server
    finally:
        await server.stop()
        server.discard_files()
