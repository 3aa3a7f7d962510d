"""Runners as processes of this machine.

A runner is a model server in a session of its own, forked from the template process, and the workers it starts. The platform holds
one end of its lifeline, so both learn at once when the other dies. Everything that a runner starts carries a mark in its
environment; whoever ends a runner ends what carries the mark, also what has left its session. What a platform that was killed may
have left is ended when its successor, which has the same directory, starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from drivetrain.fleets.doors import DoorOrder, Doors, project_name
from drivetrain.fleets.link import RunnerLink
from drivetrain.fleets.machine import capacity_of_machine
from drivetrain.fleets.output import RunnerOutput
from drivetrain.fleets.runner_process import RunnerProcess
from drivetrain.fleets.template import RunnerTemplate, TemplateGone
from drivetrain.fleets.variables import base_variables, firm_variables
from drivetrain.fleets.workplace import Workplace, make_workplace
from drivetrain.model.errors import DrivetrainError, OutsideFailed, ProjectError
from drivetrain.model.prediction import Event, PredictionId
from drivetrain.model.signature import Signature
from drivetrain.platform.fleet import (
    Answer,
    BuildFailed,
    BuildOrder,
    Capacity,
    Ending,
    Job,
    Ready,
    RunnerId,
    RunnerLog,
    RunnerLost,
    RunnerOrder,
    RunnerRefused,
    SetupFailed,
)
from drivetrain.serving import family, lifeline
from drivetrain.serving.lifeline import (
    MARK_VARIABLE,
    BuiltReport,
    FailedReport,
    ReadyReport,
    RefusedReport,
    Report,
)
from drivetrain.serving.scratch import Scratch
from drivetrain.settings import Settings

#: Longest path of a Unix socket, with its final null, on Linux and (shorter) on the Mac.
_LONGEST_SOCKET_PATH = 104

#: A template that died is replaced, but one that cannot live is not started for ever.
_FORK_ATTEMPTS = 3

#: How long a server that was told to hurry may take to tell what it cut off.
_HURRY = timedelta(seconds=5)


class ProcessFleet:
    """Implements ``Fleet`` on this machine.

    Args:
        settings: Where environments are kept, and what of the process environment models see.
        directory: For the fleet alone, on the disk that has room; what is in it from before is deleted.
        data_place: Where models find their app's data as well, if that directory exists and the fleet may mount.
    """

    def __init__(self, settings: Settings, directory: Path, *, data_place: Path = Path("/data")) -> None:
        self._data_place = data_place
        self._settings = settings
        self._directory = directory.absolute()
        self._mark = hashlib.sha256(str(self._directory).encode()).hexdigest()[:24]
        self._capacity = capacity_of_machine(settings.environ)
        self._template = RunnerTemplate(settings.environ)
        self._doors: Doors
        self._scratch: Scratch | None = None
        self._numbers = 0
        self._processes: set[RunnerProcess] = set()
        self._is_closed = False

    @property
    def capacity(self) -> Capacity:
        """Implements ``Fleet``."""
        return self._capacity

    async def open(self) -> None:
        """End what a fleet of before has left, and get ready to start runners quickly. To be called first, once.

        Raises:
            OutsideFailed: The directory cannot be used.
        """
        self._template.warm_up()
        await asyncio.to_thread(self._clean_up)
        self._doors = Doors(self._settings)
        self._scratch = Scratch()
        if len(self._scratch.path) + len("/1234567.socket") >= _LONGEST_SOCKET_PATH:
            self._scratch.remove()
            raise OutsideFailed(
                f"the path of the directory for temporary files, '{Path(self._scratch.path).parent}', is too long for sockets",
                hint="set TMPDIR to a shorter one",
            )

    async def build(self, order: BuildOrder, log: Callable[[str], None]) -> None:
        """Implements ``Fleet``."""
        number = self._next_number()
        process = await self._spawn(lifeline.BuildOrder(project=str(order.source), mark=self._mark_of(number)), number, log)
        try:
            report = await process.report()
        finally:
            process.kill()
            await process.ended
        match report:
            case BuiltReport():
                return
            case RefusedReport():
                raise _refused(report, BuildFailed)
        raise BuildFailed(
            f"making the environment of '{order.app}' was cut off: its process {process.ending}", detail=process.output.tail
        )

    async def start(self, order: RunnerOrder, log: RunnerLog) -> ProcessRunner:
        """Implements ``Fleet``."""
        ordered_at = time.monotonic()
        number = self._next_number()
        assert self._scratch is not None
        path = f"{self._scratch.path}/{number}.socket"
        workplace = await self._make_workplace(order, number)
        try:
            serve = self._serve_order(order, workplace, path, mark=self._mark_of(number), ordered_at=ordered_at)
            wanted = DoorOrder(order=order, environ=serve.environ, variables=serve.variables)
            with contextlib.ExitStack() as stack:
                door = await self._doors.door(wanted) if serve.records is not None else None
                if door is not None:
                    stack.enter_context(door)
                process = await self._spawn(serve, number, log, workplace, Path(path), door)
        except BaseException:
            await asyncio.to_thread(workplace.remove)
            raise
        link = RunnerLink(path, hidden=order.files_url)
        return ProcessRunner(order, process, link, became_ready=lambda: self._doors.prepare(wanted) if serve.records else None)

    def _serve_order(
        self, order: RunnerOrder, workplace: Workplace, path: str, *, mark: str, ordered_at: float
    ) -> lifeline.ServeOrder:
        is_mounted = self._can_mount(order)
        return lifeline.ServeOrder(
            project=str(workplace.project),
            socket=path,
            temporary=str(workplace.temporary),
            data=str(order.data),
            data_place=str(self._data_place) if is_mounted else None,
            name=project_name(order),
            # A worker that is forked sees what its template sees, so not what is mounted for its runner alone.
            records=str(self._doors.records) if not is_mounted else None,
            mark=mark,
            environ=base_variables(self._settings.environ, order, temporary=workplace.temporary),
            variables={**order.variables, **firm_variables(order)},
            files_url=order.files_url,
            concurrency=order.concurrency,
            mode=order.mode.value,
            cancel_grace=order.cancel_grace.total_seconds(),
            memory=order.grant.memory,
            ordered_at=ordered_at,
        )

    async def aclose(self) -> None:
        """Implements ``Fleet``."""
        self._is_closed = True
        processes = list(self._processes)
        for process in processes:
            process.kill(was_asked=True)
        await asyncio.gather(*(process.ended for process in processes))
        if self._scratch is not None:
            await self._doors.aclose()
        await self._template.aclose()
        if self._scratch is not None:
            self._scratch.remove()

    def _clean_up(self) -> None:
        for left in self._directory.iterdir() if self._directory.is_dir() else ():
            family.end_marked(MARK_VARIABLE, f"{self._mark}-{left.name}")
            shutil.rmtree(left, ignore_errors=True)
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise OutsideFailed(f"cannot make the directory '{self._directory}': {error.strerror}") from error

    def _can_mount(self, order: RunnerOrder) -> bool:
        """Whether the app's data can be mounted: we may, and nothing that a runner needs would be hidden."""
        if sys.platform != "linux" or os.geteuid() != 0 or not self._data_place.is_dir():
            return False
        needed = (self._directory, self._settings.cache_directory.absolute(), order.source.absolute(), Path(sys.prefix))
        return not any(path.is_relative_to(self._data_place) for path in needed)

    def _next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _mark_of(self, number: int) -> str:
        return f"{self._mark}-{number}"

    async def _make_workplace(self, order: RunnerOrder, number: int) -> Workplace:
        directory = self._directory / str(number)
        making = asyncio.ensure_future(asyncio.to_thread(_make_directories, directory, order))
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            await asyncio.gather(making, return_exceptions=True)  # a thread cannot be stopped; what it still makes is removed
            shutil.rmtree(directory, ignore_errors=True)
            raise
        except (OSError, shutil.Error) as error:
            raise OutsideFailed(
                f"cannot make the directories of a runner of '{order.app}': {error}", hint=f"is there room in '{self._directory}'?"
            ) from error

    async def _spawn(
        self,
        order: lifeline.Order,
        number: int,
        log: Callable[[str], None],
        workplace: Workplace | None = None,
        path: Path | None = None,
        door: socket.socket | None = None,
    ) -> RunnerProcess:
        if self._is_closed:
            raise OutsideFailed("the fleet is closed")
        process = await self._fork(number, log, workplace, path)
        self._processes.add(process)
        process.ended.add_done_callback(lambda _: self._processes.discard(process))
        try:
            await process.order(order, door)
        except BaseException:
            process.kill(was_asked=True)
            raise
        return process

    async def _fork(self, number: int, log: Callable[[str], None], workplace: Workplace | None, path: Path | None) -> RunnerProcess:
        problem = ""
        for _ in range(_FORK_ATTEMPTS):
            output = RunnerOutput(log)
            ours, theirs = socket.socketpair()
            try:
                with theirs:
                    forked = await self._template.fork(theirs, output.writer)
                if self._is_closed:
                    raise OutsideFailed("the fleet is closed")
                output.close_writer()
                return RunnerProcess(forked, ours, output, mark=self._mark_of(number), workplace=workplace, path=path)
            except BaseException as error:
                ours.close()
                output.close()
                if not isinstance(error, TemplateGone):
                    raise
                problem = str(error)
        raise OutsideFailed(
            f"the process that runners are forked from {problem}", hint="its reason, if it had one, is in the platform's own log"
        )


class ProcessRunner:
    """Implements ``Runner``.

    Args:
        order: What was ordered.
        process: The process, which has the order.
        link: To the server.
        became_ready: Called once it is.
    """

    def __init__(self, order: RunnerOrder, process: RunnerProcess, link: RunnerLink, *, became_ready: Callable[[], None]) -> None:
        self._became_ready = became_ready
        self._order = order
        self._process = process
        self._link = link
        self._is_stopping = False
        self.ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        process.ended.add_done_callback(self._end)
        self._ready = asyncio.get_running_loop().create_task(self._become_ready())
        self._ready.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody need ask

    @property
    def id(self) -> RunnerId:
        """Implements ``Runner``."""
        return self._order.id

    @property
    def socket(self) -> str:
        """Path of the socket that its model server listens on; for looking at it."""
        return self._link.path

    async def ready(self) -> Ready:
        """Implements ``Runner``."""
        return await asyncio.shield(self._ready)

    def run(self, job: Job) -> AsyncIterator[Event]:
        """Implements ``Runner``."""
        if self._process.has_ended:
            refusal = RunnerRefused(Answer.UNAVAILABLE, f"runner '{self.id}' has ended")
        elif self._is_stopping or not self._ready.done():
            refusal = RunnerRefused(Answer.BUSY, f"runner '{self.id}' takes no predictions now")
        else:
            refusal = None
        return self._link.run(job, refusal)

    async def cancel(self, prediction_id: PredictionId) -> None:
        """Implements ``Runner``."""
        await self._link.cancel(prediction_id)

    async def stop(self, grace: timedelta) -> None:
        """Implements ``Runner``."""
        if not self._is_stopping:
            self._is_stopping = True
            self._process.signal(signal.SIGTERM)
        if not await self._ends_within(grace):
            self._process.hurry()
            if not await self._ends_within(_HURRY):
                await self.kill()

    async def kill(self) -> None:
        """Implements ``Runner``."""
        self._is_stopping = True
        self._process.kill(was_asked=True)
        await asyncio.shield(self.ended)

    async def _ends_within(self, time: timedelta) -> bool:
        done, _ = await asyncio.wait({self.ended}, timeout=time.total_seconds())
        return bool(done)

    async def _become_ready(self) -> Ready:
        limit = self._order.startup_timeout.total_seconds()
        try:
            met = await asyncio.wait_for(self._meet(), limit)
        except asyncio.TimeoutError:
            self._process.kill()
            message = f"it was not ready after {limit:g} seconds"
            raise SetupFailed(message, hint="raise the app's startup timeout", detail=self._process.output.tail) from None
        except RunnerLost as error:
            self._process.kill()
            raise SetupFailed(error.message, detail=self._process.output.tail) from error
        if isinstance(met, Ready):
            self._became_ready()
            return met
        await asyncio.shield(self.ended)  # what it wrote has been read then
        raise _setup_failure(met, self._process)

    async def _meet(self) -> Ready | Report | None:
        report = await self._process.report()
        if not isinstance(report, ReadyReport):
            return report
        return Ready(
            schema=await self._link.get("/openapi.json"),
            concurrency=report.concurrency,
            signature=_signature(report.signature),
            train_signature=_signature(report.train_signature),
            phases=report.phases,
        )

    def _end(self, _: object) -> None:
        self._link.close()
        self.ended.set_result(Ending(was_asked=self._process.was_asked or self._is_stopping, description=self._process.ending))


def _make_directories(directory: Path, order: RunnerOrder) -> Workplace:
    order.data.mkdir(parents=True, exist_ok=True)
    return make_workplace(directory, order.source)


def _signature(wire: Mapping[str, Any] | None) -> Signature | None:
    return Signature.from_wire(wire) if wire is not None else None


def _refused(report: RefusedReport, kind: type[OutsideFailed]) -> DrivetrainError:
    family_of_error = ProjectError if report.is_project else kind
    return family_of_error(report.message, hint=report.hint, detail=report.detail)


def _setup_failure(report: Report | None, process: RunnerProcess) -> SetupFailed:
    match report:
        case FailedReport():
            return SetupFailed(report.message, detail=report.traceback or process.output.tail or None)
        case RefusedReport():
            return SetupFailed(report.message, hint=report.hint, detail=report.detail)
    return SetupFailed(f"the runner {process.ending} before it was ready", detail=process.output.tail or None)
