"""Templates of many projects, for servers that come and go: what a platform keeps so that scaling from zero takes no imports.

The keeper lives in the platform's process. Before it starts a runner it asks for a door (``TemplateKeeper.door``), and gives the
socket to the runner's process, whose supervisor then has its workers forked through it (``DoorSource``). What runners learn about
imports they write down where the keeper finds it. So the first runner of a project starts in the usual way, and the next do not.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

from msgspec.structs import replace

from drivetrain.model.prediction import Log
from drivetrain.serving.frames import Imported
from drivetrain.serving.launch import LaunchedWorker, WorkerCommand, load_frame, process_variables
from drivetrain.serving.template_fork import Door, TemplateRefused
from drivetrain.serving.template_learning import Learner
from drivetrain.serving.template_project import ProjectTemplate, abandon_fork
from drivetrain.serving.template_snapshot import Snapshot

#: What differs from worker to worker, and no library is imported by.
_OF_EACH_WORKER = ("COG_", "DRIVETRAIN_", "CUDA_VISIBLE_DEVICES", "TMPDIR", "TEMP", "TMP", "PWD", "OLDPWD", "SHLVL")

#: Room, in the environment that a template is started with, for the marks that its forks will carry.
_MARK_ROOM = "-" * 64


class TemplateKeeper:
    """Owns a template for each of the projects that were asked for last. To be used in one event loop.

    Args:
        directory: Where records are kept, for the keeper and for the servers.
        limit: How many templates there may be; the one that was not asked for longest makes room.
        idle: How long a template is kept that nobody asks for.
        tell: Told why a project has no template.
        log: Told what templates write.
        marks: Variables whose values differ from server to server, and that processes are found by. None is longer than 64.
    """

    def __init__(
        self,
        directory: Path,
        *,
        limit: int = 4,
        idle: timedelta = timedelta(minutes=30),
        tell: Callable[[str], None] = lambda _text: None,
        log: Callable[[Log], None] = lambda _log: None,
        marks: tuple[str, ...] = (),
    ) -> None:
        self._directory = directory
        self._limit = limit
        self._idle = idle
        self._tell = tell
        self._log = log
        self._marks = marks
        self._templates: OrderedDict[str, ProjectTemplate] = OrderedDict()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many projects it has, or prepares, a template for."""
        return len(self._templates)

    async def door(
        self, command: WorkerCommand, snapshot: Snapshot = Snapshot.IMPORTS, *, name: str | None = None
    ) -> socket.socket | None:
        """A connection to a template, for the server that is to have workers of this project; the caller owns it.

        Never waits for a template: where there is none that is ready, one is made for the next time, if it is known what for.

        Args:
            command: How workers are started otherwise.
            snapshot: What is to be done ahead.
            name: What the project is known by, if not by its directory: one that has a copy for each server, say.

        Returns:
            The socket, or ``None`` if workers must be started in the usual way.
        """
        key = self._key(command, snapshot, name)
        template = self._templates.get(key)
        if template is None:
            template = self._templates[key] = self._new(command, snapshot, name)
        self._templates.move_to_end(key)
        self._put_off(key)
        while len(self._templates) > self._limit:
            self._drop(next(iter(self._templates)))
        return await template.introduce()

    async def aclose(self) -> None:
        """End all templates; their workers live on. May be called twice."""
        for key in list(self._templates):
            self._drop(key)
        if self._closing:
            await asyncio.wait(self._closing)

    def _new(self, command: WorkerCommand, snapshot: Snapshot, name: str | None) -> ProjectTemplate:
        roomy = replace(command, variables={**command.variables, **dict.fromkeys(self._marks, _MARK_ROOM)})
        load = load_frame(command)
        return ProjectTemplate(roomy, load, snapshot, self._directory, tell=self._tell, log=self._log, name=name)

    def _key(self, command: WorkerCommand, snapshot: Snapshot, name: str | None) -> str:
        project = command.project
        what = [snapshot.value, name or str(project.root), str(project.entry_point(command.mode)), str(command.environment.python)]
        variables = import_variables(process_variables(command), self._marks)
        return hashlib.sha256(json.dumps([what, variables], sort_keys=True).encode()).hexdigest()

    def _put_off(self, key: str) -> None:
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
        self._timers[key] = asyncio.get_running_loop().call_later(self._idle.total_seconds(), self._drop, key)

    def _drop(self, key: str) -> None:
        self._timers.pop(key).cancel()
        task = asyncio.get_running_loop().create_task(self._templates.pop(key).aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def import_variables(variables: Mapping[str, str], marks: tuple[str, ...] = ()) -> dict[str, str]:
    """Those that libraries may be imported by: processes that differ in others can share a template."""
    return {name: value for name, value in variables.items() if not name.startswith(_OF_EACH_WORKER) and name not in marks}


class DoorSource:
    """Implements ``ForkSource`` for a server whose template belongs to another process.

    Args:
        door: From the keeper; ``None`` where there is no template yet, and workers are only to be learnt from.
        command: How workers of the project are started otherwise.
        directory: Where records are kept.
        snapshot: What the template does ahead.
        tell: Told why a worker was not forked.
        name: As for the keeper.
    """

    def __init__(
        self,
        door: socket.socket | None,
        command: WorkerCommand,
        directory: Path,
        *,
        snapshot: Snapshot = Snapshot.IMPORTS,
        tell: Callable[[str], None],
        name: str | None = None,
    ) -> None:
        self._door = Door(door) if door is not None else None
        self._learner = Learner(command, snapshot, directory, name=name)
        self._tell = tell
        self.records = snapshot is Snapshot.IMPORTS

    def start(self) -> None:
        """Implements ``ForkSource``."""
        self._learner.look()
        self._learner.recall()

    def may_fork(self, *, waits: bool) -> bool:
        """Implements ``ForkSource``."""
        return self._door is not None

    async def fork(self, command: WorkerCommand, *, limit: timedelta | None = None) -> LaunchedWorker | None:
        """Implements ``ForkSource``."""
        if (door := self._door) is None or not await asyncio.to_thread(self._learner.is_current):
            return None
        forking = asyncio.get_running_loop().run_in_executor(None, door.fork, command)
        try:
            return await asyncio.shield(forking)
        except TemplateRefused as refusal:
            self.kill()
            self._tell(f"a worker is started in the usual way, since the template did not fork it: {refusal}")
            return None
        except asyncio.CancelledError:
            forking.add_done_callback(abandon_fork)
            raise

    def learn(self, report: Imported) -> None:
        """Implements ``ForkSource``; the keeper reads what is written down when it is next asked for a door."""
        self._learner.learn(report)

    def kill(self) -> None:
        """Implements ``ForkSource``."""
        if self._door is not None:
            self._door.close()
            self._door = None

    async def aclose(self) -> None:
        """Implements ``ForkSource``."""
        self.kill()
