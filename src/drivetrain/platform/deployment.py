"""How revisions come and go.

What answered before goes on answering until the new revision has proved itself, and for good if it does not. A deployment ends with
the client that asked for it: nothing goes on that nobody watches.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any

from drivetrain.model.errors import BadRequest, DrivetrainError
from drivetrain.platform.app import App, AppName, Revision, RevisionId, RevisionState, Share
from drivetrain.platform.deploy_event import Deployed, DeployEvent, DeployOrder
from drivetrain.platform.deploying import Deploying, DeployPorts
from drivetrain.platform.files import read_reference
from drivetrain.platform.fleet import BuildOrder
from drivetrain.platform.queue import Submission
from drivetrain.platform.tasks import Tasks


class Deployments:
    """Owns deployments that are under way; one at a time for an app."""

    def __init__(self, ports: DeployPorts) -> None:
        self._ports = ports
        self._locks: dict[AppName, asyncio.Lock] = {}
        self._tasks = Tasks()

    async def start(self) -> None:
        """See to what an earlier platform was cut off from."""
        revisions = [each for app in self._ports.catalog.apps() for each in self._ports.catalog.revisions(app.name)]
        for revision in revisions:
            if revision.state in (RevisionState.BUILDING, RevisionState.PROVING):
                failure = "the platform was stopped while it was being deployed; deploy it again"
                await self._ports.catalog.put_revision(replace(revision, state=RevisionState.FAILED, failure=failure))
        await self._ports.sources.sweep({revision.source for revision in revisions})

    async def stop(self) -> None:
        """Give up deployments that are under way. May be called twice."""
        await self._tasks.aclose()

    async def deploy(self, order: DeployOrder, archive: AsyncIterator[bytes]) -> AsyncIterator[DeployEvent]:
        """Deploy; what happens, as it happens, the last event being ``Deployed``.

        Raises:
            ProjectError: The project is not as it must be.
            BuildFailed, SetupFailed, NoRoom: It could not be built, or its first runner did not become ready.
            BreaksClients: The order is strict, and the revision breaks the clients of the one before.
        """
        events: asyncio.Queue[DeployEvent | Exception] = asyncio.Queue()

        async def work() -> None:
            deploying = Deploying(self._ports, order, events.put_nowait)
            try:
                source = await deploying.receive(archive)
                async with self._lock(order.app):
                    await deploying.deploy(source)
            except Exception as error:  # noqa: BLE001 (raised to the client below)
                events.put_nowait(error)
            except asyncio.CancelledError:
                events.put_nowait(DrivetrainError("the platform is being stopped"))
                raise

        task = self._tasks.spawn(work(), f"deploying {order.app}")
        try:
            while True:
                event = await events.get()
                if isinstance(event, Exception):
                    raise event
                yield event
                if isinstance(event, Deployed):
                    return
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def copy(
        self,
        name: AppName,
        original: Revision,
        variables: Mapping[str, str],
        *,
        change: Callable[[App], App] | None = None,
        new: App | None = None,
    ) -> Revision:
        """Let a revision of one app answer under the name of another too, with runners of its own; the same copy twice is one.

        Nothing is proved: the code has been.

        Args:
            name: Under which.
            original: Ready.
            variables: Added to those of the original. The copy owns the files in them.
            change: What else to change of the app, in the same step that lets the copy answer.
            new: The app where there is none of that name.

        Raises:
            NotFound: There is no such app, and none was given.
        """
        ports = self._ports
        revision_id = id_of_copy(name, original, variables)
        variables = {**original.variables, **variables}
        async with self._lock(name):
            if new is None:
                ports.catalog.app(name)  # it may have been removed
            revision = ports.catalog.find_revision(revision_id)
            if revision is None:
                revision = replace(
                    original,
                    id=revision_id,
                    app=name,
                    number=await ports.catalog.next_number(name),
                    created_at=ports.clock.now(),
                    variables=variables,
                    copy_of=original.id,
                    logs="",
                )
                await ports.fleet.build(
                    BuildOrder(app=name, revision=revision_id, source=ports.sources.path(original.source)), _no_log
                )
                await ports.catalog.put_revision(revision)
            await self.switch(name, (Share(revision=revision_id, percent=100),), change=change, new=new)
        return revision

    async def publish(self, submission: Submission, output: Any) -> Revision:
        """Make what a training gave a revision of its destination, which answers there from now on: the code that was trained,
        with the trained weights.

        Raises:
            NotFound: The destination is gone, or the revision that was trained.
            BadRequest: The training gave no weights.
        """
        catalog = self._ports.catalog
        assert submission.destination is not None
        app, original = catalog.app(submission.destination), catalog.revision(submission.revision)
        variables = trained_variables(output)
        if variables is None:
            raise BadRequest("it gave no weights", hint="return TrainingOutput(weights=Path(…)), or the path itself")
        known = catalog.find_revision(id_of_copy(app.name, original, variables))
        if known is not None:
            return known
        for found in filter(None, map(read_reference, variables.values())):
            await self._ports.files.keep_until(found[0], None)
        return await self.copy(app.name, original, variables)

    async def switch(
        self,
        name: AppName,
        shares: tuple[Share, ...],
        *,
        change: Callable[[App], App] | None = None,
        new: App | None = None,
    ) -> App:
        """Let other revisions answer, from now on.

        Args:
            change: What else to change of the app, in the same step.
            new: The app where there is none of that name.

        Raises:
            NotFound: There is no such app or revision.
            BadRequest: A revision is another app's, or not ready.
        """

        def switched(app: App) -> App:
            for share in shares:
                revision = self._ports.catalog.revision(share.revision)
                if revision.app != name or revision.state is not RevisionState.READY:
                    raise BadRequest(f"'{share.revision}' is no revision of '{name}' that is ready")
            return replace(change(app) if change is not None else app, alias=shares, releases=app.releases + 1)

        app = await self._ports.catalog.change_app(name, switched, new=new)
        self._ports.scaling.released(name)
        return app

    async def remove(self, app: App) -> None:
        """Take an app out of service and forget it, with all that it kept."""
        ports = self._ports
        async with self._lock(app.name):
            revisions = ports.catalog.revisions(app.name)
            with ports.scaling.held(app.name):
                await ports.catalog.change_app(app.name, lambda app: replace(app, alias=()))  # nothing more is accepted
                await ports.catalog.remove_app(app.name)  # takes claims away: what still runs has no result any more
                await ports.scaling.end_all(app.name, now=True)
                ports.dispatcher.forget(app.name)
            for revision in revisions:
                await self._remove_belongings(revision)
            await ports.logs.remove(app.name)
            await ports.sources.remove_data(app.name)

    async def remove_revision(self, revision: Revision) -> None:
        """Forget a revision.

        Raises:
            NotFound: It is gone already.
            BadRequest: It answers requests, or predictions of it have not ended: nobody would ever run them.
        """
        ports = self._ports
        async with self._lock(revision.app):
            which = f"revision {revision.number} of '{revision.app}'"
            load = (await ports.queue.load(now=ports.clock.now())).get(revision.id)
            if load is not None:
                raise BadRequest(
                    f"predictions of {which} have not ended: {load.waiting} wait, {load.running} run",
                    hint="let them end, or cancel them first",
                )
            if not await ports.catalog.remove_revision(revision.id):
                raise BadRequest(f"{which} answers requests, or predictions of it have not ended", hint="try again later")
            await self._remove_belongings(revision)

    async def _remove_belongings(self, revision: Revision) -> None:
        """Delete what no other revision needs."""
        catalog = self._ports.catalog
        left = [each for app in catalog.apps() for each in catalog.revisions(app.name)]
        if revision.source not in {each.source for each in left}:
            await self._ports.sources.remove(revision.source)
        values = set(revision.variables.values()).difference(*(each.variables.values() for each in left))
        for found in filter(None, map(read_reference, values)):
            await self._ports.files.remove(found[0])

    def _lock(self, app: AppName) -> asyncio.Lock:
        return self._locks.setdefault(app, asyncio.Lock())


def id_of_copy(app: AppName, original: Revision, variables: Mapping[str, str]) -> RevisionId:
    """The id of a copy; see ``Deployments.copy``."""
    key = json.dumps([str(app), original.id, {**original.variables, **variables}], sort_keys=True)
    return RevisionId(hashlib.sha256(key.encode()).hexdigest())


def trained_variables(output: Any) -> dict[str, str] | None:
    """What runners with the weights that a training gave find in their environment; ``None`` if it gave none."""
    weights = output.get("weights") if isinstance(output, dict) else output
    return {"COG_WEIGHTS": weights} if isinstance(weights, str) and weights else None


def _no_log(_: str) -> None:
    """What is there already has nothing to tell."""
