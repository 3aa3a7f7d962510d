"""One project's template: made when it is known what for, made anew when that has changed or it was killed, given up with a reason.

What to do ahead is learnt from workers. Each reports what it imported until it was ready (``learn``), and that is kept from one
start to the next. With ``after-setup`` there is nothing to learn: the template loads and sets up the project itself.

Workers come from the template where that is possible, and are started in the usual way everywhere else; whoever asks gets a worker
in any case, and the reason is told once.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from drivetrain.environments.template import ImportRecord
from drivetrain.model.prediction import Log
from drivetrain.serving.frames import Imported, Load
from drivetrain.serving.launch import LaunchedWorker, WorkerCommand
from drivetrain.serving.template import Template, Verdict, imports_order, set_up_order
from drivetrain.serving.template_fork import TemplateRefused
from drivetrain.serving.template_learning import Learner
from drivetrain.serving.template_snapshot import Snapshot

#: A template that ends unasked is made again, but not for ever.
_MOST_ENDS = 5


class ProjectTemplate:
    """Owns the template of one project, and makes the next one when it is no longer right. To be used in one event loop.

    Args:
        command: How workers of the project are started.
        load: What they are told to load.
        snapshot: How far the template goes.
        directory: Where records are kept.
        tell: Told, once, why there is no template.
        log: Told what the template writes.
        name: What the project is known by, if not by its directory.
    """

    def __init__(
        self,
        command: WorkerCommand,
        load: Load,
        snapshot: Snapshot,
        directory: Path,
        *,
        tell: Callable[[str], None],
        log: Callable[[Log], None],
        name: str | None = None,
    ) -> None:
        self._command = command
        self._load = load
        self._snapshot = snapshot
        self._learner = Learner(command, snapshot, directory, name=name)
        self._tell = tell
        self._log = log
        self._template: Template | None = None
        self._watching: asyncio.Task[None] | None = None
        self._alive: set[Template] = set()
        self._ends = 0
        self._given_up_on: str | None = None
        self._is_closed = False

    @property
    def records(self) -> bool:
        """Whether workers are to report what they import."""
        return self._snapshot is Snapshot.IMPORTS and self._given_up_on is None and not self._is_closed

    def may_fork(self, *, waits: bool) -> bool:
        """Whether ``fork`` is worth trying now.

        Args:
            waits: Whether it may take as long as a start.
        """
        if self._template is None:
            return False
        return self._template.is_ready or (waits and not self._template.settled.done())

    def start(self) -> None:
        """Make a template, if it is known what for and there is none. May be called twice.

        To be called before the project's code is loaded anew: what is learnt then belongs to its files as they are now, and a
        set-up that was done for another start does not count.
        """
        if self._snapshot is Snapshot.AFTER_SETUP:
            self._drop()
        self._begin()

    async def fork(self, command: WorkerCommand, *, limit: timedelta | None = None) -> LaunchedWorker | None:
        """A worker from the template; ``None`` if it must be started in the usual way.

        Waits for a template that is being prepared.

        Args:
            command: How to start it otherwise; its variables count.
            limit: How long the preparation may take.
        """
        for _ in range(2):  # a template that turns out to be outdated is replaced, once
            template = self._template
            if template is None or not await self._is_settled(template, limit):
                return None
            if await asyncio.to_thread(self._learner.is_current):
                return await self._fork(template, command)
            self._drop()
            self._begin()
        return None

    async def introduce(self) -> socket.socket | None:
        """A connection over which another process can have workers forked, for ``Door``; ``None`` until there can be one.

        A template that does not exist is made meanwhile, if it is known what for.
        """
        template = self._template
        if template is not None and template.is_ready and await asyncio.to_thread(self._learner.is_current):
            with contextlib.suppress(TemplateRefused):
                return template.introduce()
        elif template is None or template.is_ready:
            self._drop()
            self._begin()
        return None

    def learn(self, report: Imported) -> None:
        """Take in what a worker has imported; from then on it will be done ahead."""
        if not self.records:
            return
        if self._learner.learn(report):
            self._drop()
            self._begin()

    def kill(self) -> None:
        """End the template at once. May be called twice."""
        self._is_closed = True
        self._drop()

    async def aclose(self) -> None:
        """End the template, and wait until it has ended. May be called twice."""
        self.kill()
        if self._alive:
            await asyncio.wait({template.ended for template in self._alive})

    def _begin(self) -> None:
        sources = self._learner.look()
        if self._given_up_on == sources:
            return
        self._given_up_on = None
        if self._template is not None or self._is_closed:
            return
        record = self._learner.recall()
        if record is None:
            return
        if record.refusal is not None:
            self._give_up(record.refusal)
        else:
            self._make(record)

    def _make(self, record: ImportRecord) -> None:
        if self._snapshot is Snapshot.IMPORTS:
            order = imports_order(self._command, record.journal, record.changes)
        else:
            order = set_up_order(_plain(self._load))
        try:
            template = Template(self._command, order, self._log)
        except OSError as error:
            self._give_up(f"it cannot be started: {error.strerror or error}")
            return
        self._alive.add(template)
        template.ended.add_done_callback(lambda _ended: self._alive.discard(template))
        self._template = template
        self._watching = asyncio.get_running_loop().create_task(self._watch(template))

    async def _watch(self, template: Template) -> None:
        """See a template through its life, and make its successor."""
        await asyncio.wait({template.settled})  # not the future itself: who stops watching must not cancel it
        if template.verdict is Verdict.UNSAFE:
            reason = template.refusal or ""
            self._learner.refuse(reason)
            self._give_up(reason)
            return
        if template.verdict is Verdict.FAILED:
            self._give_up(template.refusal or "")
            return
        await asyncio.wait({template.ended})
        self._ends += 1
        self._template = None
        if self._ends >= _MOST_ENDS:
            self._give_up(template.refusal or "")
        else:
            self._begin()

    async def _is_settled(self, template: Template, limit: timedelta | None) -> bool:
        await asyncio.wait({template.settled}, timeout=limit.total_seconds() if limit is not None else None)
        if not template.settled.done() and limit is not None:
            self._drop()
            self._give_up(f"it takes longer than {limit.total_seconds():g} seconds to prepare")
        return template.is_ready

    async def _fork(self, template: Template, command: WorkerCommand) -> LaunchedWorker | None:
        forking = asyncio.get_running_loop().run_in_executor(None, template.fork, command)
        try:
            return await asyncio.shield(forking)
        except TemplateRefused as refusal:
            if template is self._template and not template.ended.done():
                template.kill()  # it will be made again, if it was not at fault
            self._tell(f"a worker is started in the usual way, since the template did not fork it: {refusal}")
            return None
        except asyncio.CancelledError:
            forking.add_done_callback(abandon_fork)
            raise

    def _give_up(self, reason: str) -> None:
        self._given_up_on = self._learner.look()
        self._drop()
        self._tell(f"no template is kept for this project, since {reason}; workers start in the usual way")

    def _drop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        if self._template is not None:
            self._template.kill()
            self._template = None


def _plain(load: Load) -> dict[str, Any]:
    return {"root": load.root, "file": load.file, "name": load.name, "mode": load.mode, "takes_lists": load.takes_lists}


def abandon_fork(forking: asyncio.Future[LaunchedWorker]) -> None:
    """A worker that nobody waits for any more ends with its connection."""
    with contextlib.suppress(Exception):
        forking.result().discard()
