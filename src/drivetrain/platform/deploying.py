"""One deployment: receive the project, read it, build what it needs, prove that it starts, let it answer."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

from drivetrain.dialects.cog.discovery import CONFIG_NAME, load_project
from drivetrain.model.errors import BadRequest, DrivetrainError, ProjectError
from drivetrain.model.project import Project
from drivetrain.platform.app import App, Resources, Revision, RevisionId, RevisionState, Share, changed_scaling
from drivetrain.platform.catalog import Catalog
from drivetrain.platform.clock import Clock
from drivetrain.platform.compatibility import Severity, compare
from drivetrain.platform.deploy_event import Deployed, DeployEvent, DeployOrder, Noticed, Said, Step, StepBegun, Strategy
from drivetrain.platform.dispatch import Dispatcher
from drivetrain.platform.files import FileStore
from drivetrain.platform.fleet import BuildOrder, Fleet
from drivetrain.platform.logs import RunnerLogs
from drivetrain.platform.queue import QueueStore
from drivetrain.platform.runners import LiveRunner
from drivetrain.platform.scaling import Scaling
from drivetrain.platform.sources import Source, Sources

#: So much of what building and proving wrote is kept with a revision.
_LOG_CHARACTERS = 64 * 1024


class BreaksClients(BadRequest):
    """A new revision would break what the clients of the one before rely on."""

    code = "breaks_clients"


@dataclass(frozen=True, kw_only=True)
class DeployPorts:
    """What deploying needs of others."""

    catalog: Catalog
    fleet: Fleet
    sources: Sources
    scaling: Scaling
    dispatcher: Dispatcher
    queue: QueueStore
    logs: RunnerLogs
    files: FileStore
    clock: Clock


class Deploying:
    """One deployment under way.

    Args:
        tell: Is told what happens.
    """

    def __init__(self, ports: DeployPorts, order: DeployOrder, tell: Callable[[DeployEvent], None]) -> None:
        self._ports = ports
        self._order = order
        self._tell = tell
        self._log: list[str] = []
        self._step = Step.RECEIVING
        self._began_at = 0.0
        self._seconds: dict[str, float] = {}

    async def receive(self, archive: AsyncIterator[bytes]) -> Source:
        """Take the upload in."""
        self._begin(Step.RECEIVING)
        return await self._ports.sources.receive(archive)

    async def deploy(self, source: Source) -> None:
        """All the rest. Ends with ``Deployed`` or raises."""
        self._begin(Step.READING)
        project = await self._read(source)
        app = await self._app(project)
        revision, is_new = await self._revision(app, source)
        proof = None
        if revision.state is not RevisionState.READY:
            revision, proof = await self._make_ready(revision)
        try:
            self._compare(app, revision)
            await self._switch(app, revision, proof, is_new=is_new)
        except BaseException:
            if proof is not None:
                self._ports.scaling.end(proof, now=True)
            raise

    async def _read(self, source: Source) -> Project:
        if not (source.path / CONFIG_NAME).is_file():  # looked for here alone: what lies above is not the uploader's
            raise ProjectError(f"the upload has no '{CONFIG_NAME}' at its top", hint="deploy the directory that holds it")
        loaded = await asyncio.to_thread(load_project, source.path, None)
        for finding in loaded.warnings:
            self._tell(Noticed(severity=finding.severity.value, message=finding.problem, remedy=finding.remedy))
        return loaded.project

    async def _app(self, project: Project) -> App:
        """The app with the settings that the order changes; made if it is not there."""
        order, catalog = self._order, self._ports.catalog
        new = None
        if catalog.find_app(order.app) is None:
            new = App(name=order.app, created_at=self._ports.clock.now(), resources=self._resources(project))

        def ordered(app: App) -> App:
            return replace(
                app,
                scaling=changed_scaling(app.scaling, order.scaling) if order.scaling else app.scaling,
                resources=order.resources or app.resources,
                access=order.access or app.access,
            )

        return await catalog.change_app(order.app, ordered, new=new)

    def _resources(self, project: Project) -> Resources:
        """What a new app's runners hold unless its deployer says: one GPU if the project uses one and there is one."""
        if not project.environment.gpu:
            return Resources()
        if not self._ports.fleet.capacity.gpus:
            message = "the project asks for a GPU and there is none here: its runners start without"
            self._tell(Noticed(severity="warning", message=message))
            return Resources()
        return Resources(gpus=1)

    async def _revision(self, app: App, source: Source) -> tuple[Revision, bool]:
        """The revision of this upload, and whether it is to be made ready: it is new, or failed before and is tried again."""
        digest = hashlib.sha256(f"{app.name}\0{source.digest}".encode()).hexdigest()
        known = self._ports.catalog.find_revision(RevisionId(digest))
        if known is not None and known.state is RevisionState.READY:
            return known, False
        revision = Revision(
            id=RevisionId(digest),
            app=app.name,
            number=known.number if known is not None else await self._ports.catalog.next_number(app.name),
            created_at=self._ports.clock.now(),
            source=source.digest,
            labels=self._order.labels,
        )
        await self._ports.catalog.put_revision(revision)
        return revision, True

    async def _make_ready(self, revision: Revision) -> tuple[Revision, LiveRunner]:
        """Build and prove it; what went wrong is kept with the revision."""
        try:
            return await self._build_and_prove(revision)
        except BaseException as error:
            failure = error.message if isinstance(error, DrivetrainError) else "it was interrupted; deploy it again"
            failed = replace(revision, state=RevisionState.FAILED, failure=failure, logs=self._kept_log())
            await asyncio.shield(self._ports.catalog.put_revision(failed))
            raise

    async def _build_and_prove(self, revision: Revision) -> tuple[Revision, LiveRunner]:
        ports = self._ports
        self._begin(Step.BUILDING)
        build = BuildOrder(app=revision.app, revision=revision.id, source=ports.sources.path(revision.source))
        await ports.fleet.build(build, self._say)
        self._begin(Step.PROVING)
        revision = replace(revision, state=RevisionState.PROVING)
        await ports.catalog.put_revision(revision)
        if self._order.strategy is Strategy.RECREATE:
            with ports.scaling.held(revision.app):
                await ports.scaling.end_all(revision.app)
                proof = await ports.scaling.prove(revision, self._say)
        else:
            proof = await ports.scaling.prove(revision, self._say)
        ready = proof.ready
        assert ready is not None
        revision = replace(
            revision,
            state=RevisionState.READY,
            schema=ready.schema,
            signature=ready.signature,
            train_signature=ready.train_signature,
            concurrency=ready.concurrency,
            failure=None,
            logs=self._kept_log(),
        )
        try:
            await ports.catalog.put_revision(revision)
        except BaseException:
            ports.scaling.end(proof, now=True)
            raise
        return revision, proof

    def _compare(self, app: App, revision: Revision) -> None:
        """Tell what clients of the revision that answers now would notice."""
        before = self._ports.catalog.latest(app)
        if before is None or before.id == revision.id or before.schema is None or revision.schema is None:
            return
        changes = compare(before.schema, revision.schema)
        for change in changes:
            severity = "warning" if change.severity is Severity.BREAKING else "note"
            self._tell(Noticed(severity=severity, message=change.message))
        breaking = [change for change in changes if change.severity is Severity.BREAKING]
        if breaking and self._order.strict:
            sentences = "; ".join(change.message for change in breaking)
            raise BreaksClients(
                f"the revision would break clients of '{app.name}': {sentences}", hint="deploy it without --strict if that is meant"
            )

    async def _switch(self, app: App, revision: Revision, proof: LiveRunner | None, *, is_new: bool) -> None:
        ports = self._ports
        self._begin(Step.SWITCHING)
        alias = (Share(revision=revision.id, percent=100),)
        app = await ports.catalog.change_app(app.name, lambda app: replace(app, alias=alias, releases=app.releases + 1))
        if proof is not None:
            ports.scaling.adopt(proof)
        ports.scaling.released(app.name)
        self._begin(None)
        self._tell(Deployed(app=app, revision=revision, is_new=is_new, seconds=dict(self._seconds)))

    def _begin(self, step: Step | None) -> None:
        now = self._ports.clock.monotonic()
        if self._began_at:
            self._seconds[self._step.value] = now - self._began_at
        self._began_at = now
        if step is not None:
            self._step = step
            self._tell(StepBegun(step=step))

    def _say(self, text: str) -> None:
        self._log.append(text)
        self._tell(Said(step=self._step, text=text))

    def _kept_log(self) -> str:
        return "".join(self._log)[-_LOG_CHARACTERS:]
