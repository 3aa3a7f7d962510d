"""Templates that the workers of runners are forked from, kept by the platform from one runner of an app to the next.

The first runner of a revision starts its worker in the usual way, and notes what the author's code imported. Then a template is
made that has imported the same, and the next runners' workers are forked from it: see ``drivetrain.serving.template_keeper``.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from drivetrain.dialects.cog.discovery import load_project
from drivetrain.environments.environment import Environment
from drivetrain.environments.venv import find_ready
from drivetrain.model.errors import DrivetrainError
from drivetrain.model.project import Mode, Project
from drivetrain.platform.fleet import RunnerOrder
from drivetrain.serving.launch import WorkerCommand
from drivetrain.serving.lifeline import MARK_VARIABLE
from drivetrain.serving.template_keeper import TemplateKeeper
from drivetrain.serving.template_snapshot import Snapshot, chosen_snapshot
from drivetrain.settings import Settings

#: A runner that has just become ready has predictions to run; the template for its successors can wait so long.
_PATIENCE_SECONDS = 2.0

#: So many projects are remembered as they were read.
_MOST_PROJECTS = 64


@dataclass(frozen=True, kw_only=True)
class DoorOrder:
    """For whom a door is wanted.

    Attributes:
        order: The runner's.
        environ: The environment that its model's starts from.
        variables: What comes on top.
    """

    order: RunnerOrder
    environ: Mapping[str, str]
    variables: Mapping[str, str]


def project_name(order: RunnerOrder) -> str:
    """What the project is known by: its directory is another for each runner."""
    return f"{order.app}@{order.revision}"


class Doors:
    """Owns the templates. To be made in the event loop.

    Args:
        settings: Where environments are, and what has been learnt of imports.

    Attributes:
        records: Where runners note what they import.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.records = settings.cache_directory.absolute() / "imports"
        self._keeper = TemplateKeeper(self.records, marks=(MARK_VARIABLE,))
        self._projects: dict[Path, Project] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def door(self, wanted: DoorOrder) -> socket.socket | None:
        """A connection to a template, for the runner; ``None`` if there is none yet, or should be none. The caller owns it."""
        command = await asyncio.to_thread(self._command, wanted)
        if command is None or self._is_closed:
            return None
        return await self._keeper.door(command, name=project_name(wanted.order))

    def prepare(self, wanted: DoorOrder) -> None:
        """Have a template made for the next runner, now that this one is ready; in a while, and in the background."""
        if not self._is_closed:
            task = asyncio.get_running_loop().create_task(self._prepare(wanted))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """End the templates. May be called twice."""
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._keeper.aclose()

    async def _prepare(self, wanted: DoorOrder) -> None:
        await asyncio.sleep(_PATIENCE_SECONDS)
        if (door := await self.door(wanted)) is not None:
            door.close()

    def _command(self, wanted: DoorOrder) -> WorkerCommand | None:
        """How a worker of the runner would be started; the project is the upload itself, which stays."""
        order = wanted.order
        if sys.platform != "linux" or order.mode is Mode.TRAIN:
            return None
        with contextlib.suppress(DrivetrainError):  # the runner meets it too, and says so
            project = self._project(order.source)
            environment = self._environment(project)
            variables = {**wanted.environ, **project.environment.variables, **wanted.variables}
            if environment is not None and chosen_snapshot(None, variables, pays=True) is not Snapshot.OFF:
                return WorkerCommand(project=project, environment=environment, environ=wanted.environ, variables=wanted.variables)
        return None

    def _project(self, source: Path) -> Project:
        if source not in self._projects:
            if len(self._projects) >= _MOST_PROJECTS:
                self._projects.pop(next(iter(self._projects)))
            self._projects[source] = load_project(source, None).project
        return self._projects[source]

    def _environment(self, project: Project) -> Environment | None:
        return find_ready(project.environment, self._settings)
