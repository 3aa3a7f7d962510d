"""What a platform is put together from, and the order in which its parts start and stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from drivetrain.model.prediction import PredictionId
from drivetrain.platform.catalog import Catalog
from drivetrain.platform.clock import Clock
from drivetrain.platform.deploying import DeployPorts
from drivetrain.platform.deployment import Deployments
from drivetrain.platform.dispatch import Dispatcher, DispatchHooks
from drivetrain.platform.files import FileStore
from drivetrain.platform.fleet import Fleet
from drivetrain.platform.gate import RunnerGate
from drivetrain.platform.housekeeping import Housekeeping
from drivetrain.platform.hub import Hub, Live
from drivetrain.platform.ids import Ids
from drivetrain.platform.keyring import Keyring
from drivetrain.platform.limits import Limits
from drivetrain.platform.logs import RunnerLogs
from drivetrain.platform.options import PlatformOptions
from drivetrain.platform.queue import Submission
from drivetrain.platform.runners import LiveRunner, Runners
from drivetrain.platform.scaling import Scaling, ScalingPorts
from drivetrain.platform.secret import Vault
from drivetrain.platform.sources import Sources
from drivetrain.platform.statistics import Statistics
from drivetrain.platform.store import Store
from drivetrain.platform.submission import Submissions
from drivetrain.platform.tasks import Tasks
from drivetrain.platform.tracing import Tracer
from drivetrain.platform.webhooks import Render, WebhookPorts, Webhooks
from drivetrain.serving.outgoing import Outgoing


@dataclass(frozen=True, kw_only=True)
class Adapters:
    """The adapters of the ports, chosen by ``bootstrap``.

    Attributes:
        directory: Where the platform keeps what is not in the store: sources, data, logs.
        internal_url: Where runners reach the platform.
        random: Decides between revisions that share an app's requests, and spreads what is tried again.
        random_bytes: For secrets.
        outgoing: Whom the platform may talk to by itself.
        renders: By gateway, what makes the bodies of webhooks.
        tracer: Sends spans, if anybody collects them.
    """

    store: Store
    fleet: Fleet
    files: FileStore
    vault: Vault
    clock: Clock
    ids: Ids
    random: Random
    random_bytes: Callable[[int], bytes]
    outgoing: Outgoing
    renders: Mapping[str, Render]
    directory: Path
    internal_url: str
    tracer: Tracer | None = None


class Parts:
    """Everything inside a platform. Only ``Platform`` reaches in."""

    def __init__(self, adapters: Adapters, options: PlatformOptions) -> None:
        self.options = options
        self.store = adapters.store
        self.files = adapters.files
        self.vault = adapters.vault
        self.clock = adapters.clock
        self.ids = adapters.ids
        self.webhooks = Webhooks(
            WebhookPorts(
                store=adapters.store,
                vault=adapters.vault,
                clock=adapters.clock,
                outgoing=adapters.outgoing,
                renders=adapters.renders,
                random=adapters.random,
                random_bytes=adapters.random_bytes,
            )
        )
        self.catalog = Catalog(adapters.store.apps)
        self.keyring = Keyring(adapters.store.keys, adapters.clock)
        self.limits = Limits(adapters.clock)
        self.hub = Hub()
        self.statistics = Statistics()
        self.runners = Runners()
        self._outgoing = adapters.outgoing
        self._tracer = adapters.tracer
        self.gate = RunnerGate(adapters.internal_url, adapters.files, adapters.clock, adapters.ids, options)
        self.logs = RunnerLogs(adapters.directory / "logs", options.runner_log_bytes, adapters.clock)
        sources = Sources(adapters.directory / "sources", adapters.directory / "data", options.archive_bytes)
        self.submissions = Submissions(
            self.catalog, adapters.files, adapters.vault, adapters.clock, adapters.ids, adapters.random, options
        )
        self.scaling = Scaling(
            ScalingPorts(
                fleet=adapters.fleet,
                queue=adapters.store.queue,
                secrets=adapters.store.secrets,
                vault=adapters.vault,
                catalog=self.catalog,
                runners=self.runners,
                gate=self.gate,
                logs=self.logs,
                sources=sources,
                clock=adapters.clock,
                ids=adapters.ids,
                options=options,
            )
        )
        self.dispatcher = Dispatcher(
            queue=adapters.store.queue,
            hub=self.hub,
            runners=self.runners,
            catalog=self.catalog,
            submissions=self.submissions,
            gate=self.gate,
            clock=adapters.clock,
            tracer=adapters.tracer,
            options=options,
            hooks=DispatchHooks(
                demand=self.scaling.wake,
                changed=self.scaling.wake_soon,
                unwell=self._end_unwell,
                trained=self._publish,
                began=self.webhooks.follow,
                ended=self._ended,
            ),
        )
        self.deployments = Deployments(
            DeployPorts(
                catalog=self.catalog,
                fleet=adapters.fleet,
                sources=sources,
                scaling=self.scaling,
                dispatcher=self.dispatcher,
                queue=adapters.store.queue,
                logs=self.logs,
                files=adapters.files,
                clock=adapters.clock,
            )
        )
        self.fleet = adapters.fleet
        self._housekeeping = Housekeeping(adapters.store, adapters.files, adapters.clock, options)
        self._tasks = Tasks()

    async def start(self) -> None:
        """Read the state and set the loops going."""
        await self.catalog.load()
        await self.keyring.load()
        await self.deployments.start()
        # No runner outlives its platform, so whatever is claimed was cut off.
        now = self.clock.now()
        attempts = {app.name: app.scaling.max_attempts for app in self.catalog.apps()}
        await self.store.queue.reap(now=now, max_attempts=attempts, default_max_attempts=1, lapsed_only=False)
        for revision in await self.store.queue.load(now=now):
            self.dispatcher.demand(revision)
        self.dispatcher.start()
        self.scaling.start(self.dispatcher)
        self.webhooks.start()
        self._tasks.spawn_loop(self.logs.keep_writing, "writing runners' logs")
        self._tasks.spawn_loop(self._housekeeping.round, "housekeeping")

    async def stop(self) -> None:
        """Let what runs end within the grace, then end and close everything. May be called twice, and without a start."""
        await self.deployments.stop()
        await self.dispatcher.stop(self.options.stop_grace)
        self.hub.close()
        await self.scaling.stop()
        await self.webhooks.stop()
        await self._tasks.aclose()
        await self.fleet.aclose()
        await self.logs.flush()
        await self._outgoing.aclose()
        if self._tracer is not None:
            await asyncio.to_thread(self._tracer.shutdown)
        await self.files.aclose()
        await self.store.close()

    def _ended(self, prediction_id: PredictionId, live: Live | None) -> None:
        self.limits.ended(prediction_id)
        if live is not None:
            self.statistics.add(live.submission.app, live.prediction)
        if live is None or live.submission.webhook is not None:
            self.webhooks.wake()

    async def _publish(self, submission: Submission, output: Any) -> None:
        await self.deployments.publish(submission, output)

    def _end_unwell(self, runner: LiveRunner, reason: str) -> None:
        self.scaling.end(runner, now=True, reason=reason)
