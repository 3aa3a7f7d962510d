"""The platform's use cases. A gateway's route parses, calls one of these, and renders; nothing else decides anything."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

from drivetrain.model.errors import BadRequest
from drivetrain.model.prediction import PredictionId
from drivetrain.platform.access import Caller, Forbidden, NotFound
from drivetrain.platform.app import (
    Access,
    App,
    AppName,
    Resources,
    Revision,
    RevisionId,
    RevisionState,
    Share,
    can_own,
    changed_scaling,
)
from drivetrain.platform.delivery import Delivery, DeliveryId, DeliveryState
from drivetrain.platform.deploy_event import Deployed, DeployEvent, DeployOrder
from drivetrain.platform.files import FileId, NewFile, Origin, StoredFile
from drivetrain.platform.fleet import Capacity, RunnerId
from drivetrain.platform.gate import RunnerFiles
from drivetrain.platform.hub import Live, Numbered
from drivetrain.platform.key import ApiKey, AuditLine, Scope, digest_of, new_key
from drivetrain.platform.parts import Parts
from drivetrain.platform.queue import Load, PredictionQuery, Record, Submission, Submitted
from drivetrain.platform.runners import RunnerView
from drivetrain.platform.scaling import ColdStarts
from drivetrain.platform.secret import SealedSecret
from drivetrain.platform.signing import secret_key
from drivetrain.platform.statistics import AppStatistics
from drivetrain.platform.submission import PredictionRequest, Prepared
from drivetrain.platform.url_signature import verify_download
from drivetrain.platform.view import PredictionView, view

#: Readers of a stream hear from us at least so often, so that proxies keep their connections.
KEEP_ALIVE_SECONDS = 15.0


@dataclass(frozen=True, kw_only=True)
class AppChange:
    """What to change of an app; ``None`` leaves a setting as it is. Called with an app, it gives the changed one."""

    scaling: Mapping[str, Any] | None = None
    resources: Resources | None = None
    access: Access | None = None
    description: str | None = None
    labels: Mapping[str, Any] | None = None

    def __call__(self, app: App) -> App:
        return replace(
            app,
            scaling=changed_scaling(app.scaling, self.scaling or {}),
            resources=self.resources or app.resources,
            access=self.access or app.access,
            description=app.description if self.description is None else self.description,
            labels=app.labels if self.labels is None else self.labels,
        )


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What has happened since the start, in numbers."""

    apps: Mapping[AppName, AppStatistics]
    cold_starts: ColdStarts
    webhooks_delivered: int
    webhooks_given_up: int


class Platform:
    """Every use case, each asking whether the caller may.

    Args:
        parts: What it is put together from; see ``bootstrap``.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.options = parts.options
        self.clock = parts.clock
        self.catalog = parts.catalog
        self.files = parts.files

    async def start(self) -> None:
        """Read the state, take back what an earlier platform was cut off from, and set the loops going."""
        await self._parts.start()

    async def stop(self) -> None:
        """Take nothing more, let what runs end within the grace, end the runners. May be called twice."""
        await self._parts.stop()

    # Who calls

    async def authenticate(self, key: str | None) -> Caller:
        """Whose key this is; without one, nobody in particular.

        Raises:
            Unauthenticated: The key is not known, or has expired.
        """
        return await self._parts.keyring.authenticate(key)

    async def add_key(
        self,
        caller: Caller,
        *,
        owner: str,
        scope: Scope,
        name: str,
        expires_at: datetime | None = None,
        requests_per_minute: int | None = None,
        concurrency: int | None = None,
    ) -> tuple[ApiKey, str]:
        """A new key and its text, which is not kept and cannot be shown again."""
        caller.require(Scope.DEPLOY)  # or a key that has limits could make one that has none
        caller.require(scope, owner)
        _check_owner(owner)
        text = new_key(self._parts.ids.text)
        key = ApiKey(
            id=self._parts.ids.short(),
            digest=digest_of(text),
            owner=owner,
            scope=scope,
            name=name,
            hint=text[-4:],
            created_at=self.clock.now(),
            expires_at=expires_at,
            requests_per_minute=requests_per_minute,
            concurrency=concurrency,
        )
        await self._parts.keyring.add(key)
        await self._audit(caller, "key.add", key.id, f"{scope.value} for {owner}")
        return key, text

    async def keys(self, caller: Caller) -> list[ApiKey]:
        """The keys that the caller may handle."""
        caller.require(Scope.DEPLOY)
        return [key for key in await self._parts.keyring.keys() if caller.owns(key.owner)]

    async def revoke_key(self, caller: Caller, key_id: str) -> None:
        """Make a key worthless from now on, if it allows no more than the caller's."""
        key = {key.id: key for key in await self.keys(caller)}.get(key_id)
        if key is None:
            raise NotFound("key", key_id)
        caller.require(key.scope)
        await self._parts.keyring.remove(key_id)
        await self._audit(caller, "key.revoke", key_id)

    async def audit_lines(self, caller: Caller, *, limit: int = 100) -> list[AuditLine]:
        """Who did what, newest first."""
        caller.require(Scope.ADMIN)
        return await self._parts.store.keys.audit_lines(limit=limit)

    # Predictions

    async def predict(self, caller: Caller, request: PredictionRequest, *, wait: timedelta | None = None) -> PredictionView:
        """Accept a prediction, and wait for its end at most so long. It is on disk when this returns.

        Raises:
            NotFound, Forbidden, NotDeployed, InvalidInputs, QueueFull, KeyReused: See ``Submissions`` and ``QueueStore``.
            LimitExceeded: The caller's key has reached its limit.
        """
        parts = self._parts
        if earlier := await self._accepted_earlier(caller, request):
            return await self.wait(caller, earlier.submission.id, wait or timedelta(0))
        with contextlib.ExitStack() as watching:
            with parts.limits.admitted(caller):
                prepared = await parts.submissions.prepare(caller, request)
                live = watching.enter_context(self._using(prepared.submission))
                submitted = await self._submit(prepared)
                if submitted.is_new:
                    parts.limits.accepted(caller, prepared.submission)
            if submitted.is_new:
                if wait is not None:
                    await self._end_of(live, wait)
                return self._view(submitted.record, live)
        return await self.wait(caller, submitted.record.submission.id, wait or timedelta(0))

    async def prediction(self, caller: Caller, prediction_id: PredictionId) -> PredictionView:
        """A prediction as it is now.

        Raises:
            NotFound: There is none of that id, or none of the caller's.
        """
        record = await self._record(caller, prediction_id)
        return self._view(record, self._parts.hub.find(prediction_id))

    async def wait(self, caller: Caller, prediction_id: PredictionId, timeout: timedelta) -> PredictionView:
        """A prediction once it has ended, or as it is when the time is up."""
        record = await self._record(caller, prediction_id)
        with self._using(record.submission) as live:
            record = await self._record(caller, prediction_id)  # it may have ended before we were there to hear of it
            if record.status.is_terminal:
                return self._view(record, None)
            await self._end_of(live, timeout)
            return self._view(record, live)

    async def follow(
        self, caller: Caller, prediction_id: PredictionId, *, after: tuple[int, int] | None = None
    ) -> AsyncIterator[list[Numbered]]:
        """Its events in order until its end, as they come; an empty list is a sign of life.

        Args:
            after: Continue after this (attempt, number).
        """
        record = await self._record(caller, prediction_id)
        with self._using(record.submission) as live:
            record = await self._record(caller, prediction_id)
            if record.status.is_terminal and not live.events:
                start = after[1] + 1 if after is not None and after[0] == record.attempts else 0
                events = enumerate(record.events[start:], start)
                yield [Numbered(record.attempts, number, event) for number, event in events]
                return
            async for batch in self._parts.hub.follow(live, after=after, keep_alive=KEEP_ALIVE_SECONDS):
                yield batch

    async def predictions(self, caller: Caller, query: PredictionQuery) -> list[PredictionView]:
        """Predictions, newest first; of the caller's own apps where it does not say which."""
        if query.app is not None:
            self._require_owned(caller, query.app.owner)
        elif not caller.is_admin:
            caller.require(Scope.CALL)
            query = replace(query, owner=caller.owner)
        records = await self._parts.store.queue.find(query)
        return [self._view(record, self._parts.hub.find(record.submission.id)) for record in records]

    async def cancel(self, caller: Caller, prediction_id: PredictionId) -> PredictionView:
        """Cancel a prediction wherever it is. What has ended stays as it is.

        A prediction that runs may take a moment to obey; see ``PredictionView.cancel_requested``.
        """
        await self._record(caller, prediction_id)
        await self._parts.dispatcher.cancel(prediction_id)
        return await self.prediction(caller, prediction_id)

    async def position(self, caller: Caller, prediction_id: PredictionId) -> int | None:
        """How many are before it in its queue; ``None`` once it does not wait."""
        await self._record(caller, prediction_id)
        return await self._parts.store.queue.position(prediction_id)

    async def count(self, caller: Caller, name: AppName) -> int:
        """How many predictions of an app are known, ended ones included."""
        return await self._parts.store.queue.count(self.app(caller, name).name)

    async def load(self, caller: Caller) -> dict[RevisionId, Load]:
        """What waits and runs, by revision."""
        caller.require(Scope.CALL)
        loads = await self._parts.store.queue.load(now=self._parts.clock.now())
        known = {revision_id: self.catalog.find_revision(revision_id) for revision_id in loads}
        return {key: load for key, load in loads.items() if (revision := known[key]) and caller.owns(revision.app.owner)}

    # Apps and revisions

    def apps(self, caller: Caller) -> list[App]:
        """The apps that the caller may call."""
        return [app for app in self.catalog.apps() if caller.may_call(app)]

    def app(self, caller: Caller, name: AppName) -> App:
        """An app that the caller may call.

        Raises:
            NotFound: There is none.
        """
        app = self.catalog.app(name)
        if not caller.may_call(app):
            raise NotFound("app", str(name))
        return app

    def revisions(self, caller: Caller, name: AppName) -> list[Revision]:
        """An app's revisions, newest first."""
        return self.catalog.revisions(self.app(caller, name).name)

    def revision(self, caller: Caller, revision_id: RevisionId) -> Revision:
        """A revision of an app that the caller may call."""
        revision = self.catalog.revision(revision_id)
        self.app(caller, revision.app)
        return revision

    async def create_app(self, caller: Caller, app: App) -> App:
        """Add an app that nothing has been deployed to yet.

        Raises:
            BadRequest: There is one of that name.
        """
        caller.require(Scope.DEPLOY, app.name.owner)

        def added(before: App) -> App:
            if before is not app:
                raise BadRequest(f"there is an app '{app.name}' already")
            return app

        await self.catalog.change_app(app.name, added, new=app)
        await self._audit(caller, "app.create", str(app.name))
        return app

    async def change_app(self, caller: Caller, name: AppName, change: Callable[[App], App]) -> App:
        """Change an app's settings; at work at once, without a new revision.

        Args:
            change: An ``AppChange``, or whatever makes the new value of the newest one.

        Raises:
            BadRequest: A setting is not one, or its value cannot be.
        """
        before = self._owned_app(caller, name)
        changed = await self.catalog.change_app(name, change)
        self._parts.scaling.wake()
        names = [field.name for field in fields(AppChange) if getattr(changed, field.name) != getattr(before, field.name)]
        await self._audit(caller, "app.change", str(name), ", ".join(names))
        return changed

    def deploy(self, caller: Caller, order: DeployOrder, archive: AsyncIterator[bytes]) -> AsyncIterator[DeployEvent]:
        """Deploy an uploaded project; see ``Deployments.deploy``. What was deployed before serves on meanwhile."""
        caller.require(Scope.DEPLOY, order.app.owner)
        return self._deploy(caller, order, archive)

    async def copy_revision(
        self,
        caller: Caller,
        revision_id: RevisionId,
        name: AppName,
        change: Callable[[App], App] | None = None,
        *,
        new: App | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> Revision:
        """Let a revision that the caller may call answer under the name of an app of its own, with runners of their own.

        Args:
            change: What else to change of the app, at the moment from which on the revision answers.
            new: The app where there is none of that name.
            variables: See ``Deployments.copy``.

        Raises:
            NotFound: There is no such app, and none was given.
            BadRequest: The revision is not ready.
        """
        caller.require(Scope.DEPLOY, name.owner)
        revision = self.revision(caller, revision_id)
        if revision.state is not RevisionState.READY:
            raise BadRequest(f"revision {revision.number} of '{revision.app}' is {revision.state.value}")
        copy = await self._parts.deployments.copy(name, revision, variables or {}, change=change, new=new)
        await self._audit(caller, "app.copy", str(name), f"of revision {revision.number} of {revision.app}")
        return copy

    async def roll_back(self, caller: Caller, name: AppName, revision_id: RevisionId | None = None) -> App:
        """Let another revision answer, at once.

        Args:
            revision_id: Which; ``None`` is the one before the newest that answers now.

        Raises:
            BadRequest: There is none, or it is not ready.
        """
        app = self._owned_app(caller, name)
        target = revision_id or self._before(app)
        return await self._switch(caller, name, (Share(revision=target, percent=100),), "app.rollback")

    async def split(self, caller: Caller, name: AppName, shares: Sequence[Share]) -> App:
        """Share an app's requests between revisions, by percent.

        Raises:
            BadRequest: The percents do not add up to 100, or a revision is not ready.
        """
        self._owned_app(caller, name)
        if sum(share.percent for share in shares) != 100 or any(share.percent < 0 for share in shares):
            raise BadRequest("the percents must add up to 100, none of them negative")
        return await self._switch(caller, name, tuple(share for share in shares if share.percent), "app.split")

    async def remove_app(self, caller: Caller, name: AppName) -> None:
        """Take an app out of service: cancel what waits, end its runners, forget it with all that belongs to it."""
        app = self._owned_app(caller, name)
        await self._parts.deployments.remove(app)
        self._parts.limits.forget(name)
        self._parts.statistics.forget(name)
        await self._audit(caller, "app.remove", str(name))

    async def remove_revision(self, caller: Caller, revision_id: RevisionId) -> None:
        """Forget a revision.

        Raises:
            BadRequest: It answers requests, or predictions of it have not ended.
        """
        revision = self.catalog.revision(revision_id)
        app = self._owned_app(caller, revision.app)
        if revision_id in {share.revision for share in app.alias}:
            raise BadRequest(
                f"revision {revision.number} of '{app.name}' answers requests", hint="switch the app to another one first"
            )
        await self._parts.deployments.remove_revision(revision)
        await self._audit(caller, "revision.remove", revision_id)

    # Runners

    def runners(self, caller: Caller) -> list[RunnerView]:
        """The runners of the caller's apps, and for apps that want more and cannot have them, why."""
        caller.require(Scope.CALL)
        return [runner for runner in self._parts.runners.views() if caller.owns(runner.app.owner)]

    def unplaced(self, caller: Caller) -> dict[AppName, str]:
        """Apps that want a runner and get none now, and why."""
        caller.require(Scope.CALL)
        return {name: why for name, why in self._parts.scaling.unplaced.items() if caller.owns(name.owner)}

    def capacity(self, caller: Caller) -> Capacity:
        """What the fleet has in all."""
        caller.require(Scope.CALL)
        return self._parts.fleet.capacity

    async def stop_runner(self, caller: Caller, runner_id: RunnerId, *, now: bool = False) -> None:
        """End a runner, after its predictions or (``now``) at once; the autoscaler may start another."""
        runner = self._parts.runners.find(runner_id)
        if runner is None or not caller.owns(runner.app.owner):
            raise NotFound("runner", runner_id)
        caller.require(Scope.DEPLOY, runner.app.owner)
        self._parts.scaling.end(runner, now=now)
        await self._audit(caller, "runner.stop", runner_id)

    def log(self, caller: Caller, name: AppName, *, follows: bool, lines: int = 100) -> AsyncIterator[str]:
        """What an app's runners write outside of predictions: the latest lines, then, if it ``follows``, whatever comes."""
        return self._parts.logs.read(self._owned_app(caller, name).name, follows=follows, lines=lines)

    def runner_files(self, token: str) -> RunnerFiles:
        """The files of the runner whose URL holds this token, which is the right to them.

        Raises:
            NotFound: Nobody's, or nobody's any more.
        """
        return self._parts.gate.find(token)

    def figures(self, caller: Caller) -> Figures:
        """What has happened since the start, in numbers."""
        caller.require(Scope.ADMIN)
        parts = self._parts
        return Figures(
            apps={app.name: parts.statistics.of(app.name) for app in self.catalog.apps()},
            cold_starts=parts.scaling.cold_starts,
            webhooks_delivered=parts.webhooks.delivered,
            webhooks_given_up=parts.webhooks.given_up,
        )

    # Secrets

    async def set_secret(self, caller: Caller, owner: str, app: AppName | None, name: str, value: str) -> None:
        """Keep a secret; runners that start from now on get it as an environment variable."""
        caller.require(Scope.DEPLOY, owner)
        if not name.isidentifier() or not name.isascii():
            raise BadRequest(f"'{name}' cannot be the name of an environment variable")
        if "\0" in value:
            raise BadRequest(
                "the value of an environment variable cannot contain a NUL character", hint="encode it, as base64 does"
            )
        _check_owner(owner)
        sealed = self._parts.vault.seal(value.encode())
        secret = SealedSecret(owner=owner, app=app, name=name, sealed=sealed, updated_at=self.clock.now())
        await self._parts.store.secrets.put_secret(secret)
        await self._audit(caller, "secret.set", name, str(app or owner))

    async def secrets(self, caller: Caller, owner: str) -> list[SealedSecret]:
        """An owner's secrets; their values stay sealed."""
        caller.require(Scope.DEPLOY, owner)
        return await self._parts.store.secrets.secrets(owner)

    async def remove_secret(self, caller: Caller, owner: str, app: AppName | None, name: str) -> None:
        """Forget a secret.

        Raises:
            NotFound: There is none of that name.
        """
        caller.require(Scope.DEPLOY, owner)
        if not await self._parts.store.secrets.remove_secret(owner, app, name):
            raise NotFound("secret", name)
        await self._audit(caller, "secret.remove", name, str(app or owner))

    # Files

    async def upload(
        self, caller: Caller, *, name: str, content_type: str | None, content: AsyncIterator[bytes], metadata: Mapping[str, Any]
    ) -> StoredFile:
        """Store a file of the caller's.

        Raises:
            FileTooLarge, QuotaExceeded: As the platform's options say.
        """
        caller.require(Scope.CALL)
        now = self.clock.now()
        new = NewFile(
            owner=caller.owner,
            name=name,
            content_type=content_type,
            origin=Origin.UPLOAD,
            expires_at=now + self.options.keep_files,
            metadata=metadata,
        )
        return await self.files.put(new, content, now=now, limit=self.options.file_bytes, quota=self.options.quota_bytes)

    async def file(self, caller: Caller, file_id: FileId) -> StoredFile:
        """One of the caller's files.

        Raises:
            NotFound: There is none of that id.
        """
        stored = await self.files.get(file_id)
        if stored is None or not caller.owns(stored.owner):
            raise NotFound("file", file_id)
        return stored

    async def remove_file(self, caller: Caller, file_id: FileId) -> None:
        """Delete one of the caller's files."""
        await self.file(caller, file_id)
        await self.files.remove(file_id)

    async def may_download(self, *, owner: str, file_id: FileId, expiry: str, signature: str) -> bool:
        """Whether an owner, who alone knows what its webhooks are signed with, allows everybody to read a file for a while."""
        keys = [secret_key(secret) for secret in await self._parts.webhooks.secrets(owner)]
        now = self.clock.now()
        return verify_download(keys, owner=owner, file_id=file_id, expiry=expiry, signature=signature, now=now)

    # Webhook deliveries

    async def deliveries(
        self, caller: Caller, *, prediction: PredictionId | None = None, state: DeliveryState | None = None
    ) -> list[Delivery]:
        """Webhook deliveries, newest first: of one prediction, or of all, which needs an administrator's key."""
        if prediction is None:
            caller.require(Scope.ADMIN)
        else:
            await self._record(caller, prediction)
        return await self._parts.store.deliveries.find(prediction=prediction, state=state)

    async def resend(self, caller: Caller, delivery_id: DeliveryId) -> Delivery:
        """Send a webhook again, now."""
        delivery = await self._parts.store.deliveries.get(delivery_id)
        if delivery is None:
            raise NotFound("delivery", delivery_id)
        await self._record(caller, delivery.prediction)
        return await self._parts.webhooks.resend(delivery)

    async def webhook_secrets(self, caller: Caller) -> list[str]:
        """What webhooks for the caller are signed with, newest first."""
        caller.require(Scope.CALL)
        return await self._parts.webhooks.secrets(caller.owner)

    # Inside

    @contextlib.contextmanager
    def _using(self, submission: Submission) -> Any:
        with self._parts.hub.using(submission, streams=self._streams(submission)) as live:
            yield live

    def _streams(self, submission: Submission) -> bool:
        return self._parts.dispatcher.streams(submission)

    async def _accepted_earlier(self, caller: Caller, request: PredictionRequest) -> Record | None:
        """What an earlier request with this idempotency key made. Whoever asks again is told, whatever stands against a new one."""
        if request.idempotency_key is None:
            return None
        return await self._parts.store.queue.accepted_earlier(
            request.app, caller=caller.id, idempotency_key=request.idempotency_key, fingerprint=request.fingerprint
        )

    async def _submit(self, prepared: Prepared) -> Submitted:
        """Have a submission accepted, or leave nothing of it."""
        parts, submission = self._parts, prepared.submission
        try:
            app = self.catalog.app(submission.app)
            self.catalog.revision(submission.revision)  # it may have been removed while files were stored
            submitted = await parts.dispatcher.submit(submission, queue_limit=app.scaling.queue_limit)
        except Exception:  # which no cancelation is: it may come after the prediction has been accepted
            await parts.submissions.discard(prepared)
            raise
        if not submitted.is_new:
            await parts.submissions.discard(prepared)
        return submitted

    async def _deploy(self, caller: Caller, order: DeployOrder, archive: AsyncIterator[bytes]) -> AsyncIterator[DeployEvent]:
        async for event in self._parts.deployments.deploy(order, archive):
            if isinstance(event, Deployed):
                await self._audit(caller, "app.deploy", str(order.app), f"revision {event.revision.number}")
            yield event

    async def _end_of(self, live: Live, timeout: timedelta) -> None:
        deadline = self.clock.monotonic() + timeout.total_seconds()
        while not (live.is_ended or self._parts.hub.is_closed) and (left := deadline - self.clock.monotonic()) > 0:
            await live.changed(left)

    def _view(self, record: Record, live: Live | None) -> PredictionView:
        if live is not None and record.status.is_terminal and not live.is_ended:
            live = None  # ended before anybody here saw it
        if live is not None and live.attempt == 0 and not live.is_ended:
            live = None  # watched, but not running here
        if live is not None:
            record = replace(record, attempts=max(record.attempts, live.attempt))
        return view(record, live.prediction if live is not None else None, streams=self._streams(record.submission))

    async def _record(self, caller: Caller, prediction_id: PredictionId) -> Record:
        record = await self._parts.store.queue.get(prediction_id)
        if record is None or not self._may_see(caller, record.submission):
            raise NotFound("prediction", prediction_id)
        return record

    @staticmethod
    def _may_see(caller: Caller, submission: Submission) -> bool:
        return caller.owns(submission.app.owner) or submission.caller == caller.id or submission.id == caller.shown

    @staticmethod
    def _require_owned(caller: Caller, owner: str) -> None:
        if not caller.owns(owner):
            raise Forbidden(f"only keys of '{owner}' may do this")

    def _owned_app(self, caller: Caller, name: AppName) -> App:
        app = self.app(caller, name)
        caller.require(Scope.DEPLOY, name.owner)
        return app

    def _before(self, app: App) -> RevisionId:
        current = self.catalog.latest(app)
        for revision in self.catalog.revisions(app.name):
            if revision.state is RevisionState.READY and (current is None or revision.number < current.number):
                return revision.id
        raise BadRequest(f"'{app.name}' has no earlier revision that is ready")

    async def _switch(self, caller: Caller, name: AppName, shares: tuple[Share, ...], action: str) -> App:
        changed = await self._parts.deployments.switch(name, shares)
        numbers = ", ".join(f"{self.catalog.revision(share.revision).number}: {share.percent} %" for share in shares)
        await self._audit(caller, action, str(name), numbers)
        return changed

    async def _audit(self, caller: Caller, action: str, subject: str, detail: str = "") -> None:
        line = AuditLine(at=self.clock.now(), actor=caller.id, action=action, subject=subject, detail=detail)
        await self._parts.store.keys.add_audit_line(line)


def _check_owner(owner: str) -> None:
    if not can_own(owner):
        hint = "write lower-case letters, digits, '.', '_' and '-', at most 64 of them"
        raise BadRequest(f"'{owner[:100]}' cannot be an owner of apps", hint=hint)
