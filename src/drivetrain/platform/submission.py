"""From a request to something the queue can keep: which revision answers, whether the inputs fit, where the files are."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import urllib.parse
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

from drivetrain.model.errors import BadRequest, OutsideFailed
from drivetrain.model.inputs import CheckedInputs, FilePlace, replace_places
from drivetrain.model.json_value import put_in
from drivetrain.model.prediction import PredictionId
from drivetrain.model.project import Mode
from drivetrain.platform.access import Caller, Forbidden, NotFound
from drivetrain.platform.app import App, AppName, Revision, RevisionId, RevisionState
from drivetrain.platform.catalog import Catalog
from drivetrain.platform.clock import Clock
from drivetrain.platform.files import FileId, FileStore, NewFile, Origin
from drivetrain.platform.ids import Ids
from drivetrain.platform.key import Scope
from drivetrain.platform.options import PlatformOptions
from drivetrain.platform.queue import Priority, Submission, WebhookOrder
from drivetrain.platform.secret import Vault

_MASK = "*" * 10


class NotDeployed(BadRequest):
    """An app has no revision that could answer."""

    code = "not_deployed"

    def __init__(self, app: AppName) -> None:
        super().__init__(f"'{app}' has no revision that is ready", hint=f"deploy one: drivetrain deploy --name {app}")


@dataclass(frozen=True, kw_only=True)
class PredictionRequest:
    """What a client asks to have run, as its gateway understood it.

    Attributes:
        input: Unchecked.
        revision: Which revision; ``None`` leaves it to the app's alias.
        start_within: How long it may wait for its start.
        cancel_after: From its creation, after which it is canceled wherever it is.
        own_file: Says which file of ours a URL in the input means, if any.
        fingerprint: Digest of what was asked, which an idempotency key must not be used with twice differently.
        labels: What the gateway wants back when it renders the prediction.
        destination: Of a training; see ``Submission``.
    """

    app: AppName
    input: Mapping[str, Any]
    revision: RevisionId | None = None
    mode: Mode = Mode.PREDICT
    context: Mapping[str, str] = field(default_factory=dict)
    priority: Priority = Priority.NORMAL
    start_within: timedelta | None = None
    cancel_after: timedelta | None = None
    webhook: WebhookOrder | None = None
    idempotency_key: str | None = None
    fingerprint: str = ""
    labels: Mapping[str, Any] = field(default_factory=dict)
    destination: AppName | None = None
    trace: str | None = None
    own_file: Callable[[str], FileId | None] = lambda _url: None


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A submission that is ready to be accepted.

    Attributes:
        stored: The files that were stored for it, of which nobody else knows.
    """

    submission: Submission
    stored: tuple[FileId, ...] = ()


class Submissions:
    """Makes submissions of requests.

    Args:
        ids: Gives ids.
        random: Decides between revisions that share an app's requests.
    """

    def __init__(
        self,
        catalog: Catalog,
        files: FileStore,
        vault: Vault,
        clock: Clock,
        ids: Ids,
        random: Random,
        options: PlatformOptions,
    ) -> None:
        self._catalog = catalog
        self._files = files
        self._vault = vault
        self._clock = clock
        self._ids = ids
        self._random = random
        self._options = options

    async def prepare(self, caller: Caller, request: PredictionRequest) -> Prepared:
        """Check a request, store the files it carries. Whoever does not have it accepted afterwards must ``discard`` it.

        Raises:
            NotFound: No such app or revision, or none that the caller may know of.
            Forbidden: The caller may not call it.
            NotDeployed: Nothing could answer.
            InvalidInputs: The inputs do not fit the signature.
        """
        app = self._callable(caller, request.app)
        revision = self._revision(app, request.revision)
        if request.mode is Mode.TRAIN and revision.schema is not None and revision.train_signature is None:
            raise BadRequest(f"'{app.name}' has no training", hint="its project names none under 'train'")
        if request.destination is not None:
            caller.require(Scope.DEPLOY, request.destination.owner)
        now = self._clock.now()
        prediction_id = PredictionId(self._ids.prediction())
        stored: list[FileId] = []
        try:
            input_, sealed = await self._inputs(app, revision, request, prediction_id, now, stored)
        except BaseException:
            await self._remove(stored)
            raise
        signature = revision.signature if request.mode is Mode.PREDICT else revision.train_signature
        deadline = now + request.cancel_after if request.cancel_after is not None else None
        submission = Submission(
            id=prediction_id,
            app=app.name,
            revision=revision.id,
            created_at=now,
            input=input_,
            sealed=sealed,
            mode=request.mode,
            context=request.context,
            priority=request.priority,
            start_by=_earliest(now, request.start_within, app.scaling.start_timeout, request.cancel_after),
            run_limit=app.scaling.request_timeout,
            deadline=deadline,
            webhook=replace(request.webhook, owner=caller.owner or app.name.owner) if request.webhook is not None else None,
            caller=caller.id,
            idempotency_key=request.idempotency_key,
            fingerprint=request.fingerprint,
            labels=request.labels,
            streams=signature is not None and signature.streams,
            destination=request.destination,
            trace=request.trace,
        )
        return Prepared(submission=submission, stored=tuple(stored))

    async def discard(self, prepared: Prepared) -> None:
        """Delete what was stored for a submission that is not to be accepted."""
        await self._remove(prepared.stored)

    def unsealed(self, submission: Submission) -> Mapping[str, Any]:
        """The inputs with the secrets in their places."""
        if submission.sealed is None:
            return submission.input
        places = json.loads(self._vault.open(submission.sealed))
        return dict(put_in(submission.input, {tuple(pointer): value for pointer, value in places}))

    def _callable(self, caller: Caller, name: AppName) -> App:
        app = self._catalog.find_app(name)
        if app is None or not (caller.may_call(app) or caller.key is not None):
            raise NotFound("app", str(name))  # nobody without a key learns what there is
        if not caller.may_call(app):
            raise Forbidden(f"'{name}' is private to '{name.owner}'")
        return app

    def _revision(self, app: App, wanted: RevisionId | None) -> Revision:
        if wanted is not None:
            revision = self._catalog.revision(wanted)
            if revision.app != app.name:
                raise NotFound("revision", wanted)
            if revision.state is not RevisionState.READY:
                raise BadRequest(f"revision {revision.number} of '{app.name}' is {revision.state.value}")
            return revision
        if not app.alias:
            raise NotDeployed(app.name)
        if len(app.alias) == 1:
            return self._catalog.revision(app.alias[0].revision)
        shares = [share.percent for share in app.alias]
        return self._catalog.revision(self._random.choices(app.alias, shares)[0].revision)

    async def _inputs(
        self,
        app: App,
        revision: Revision,
        request: PredictionRequest,
        prediction_id: PredictionId,
        now: datetime,
        stored: list[FileId],
    ) -> tuple[Mapping[str, Any], bytes | None]:
        checker = self._catalog.checker(revision, request.mode)
        if checker is None:
            return request.input, None
        checked = checker.check(request.input)
        values = checked.values
        if checked.files:
            references = {}
            for place in checked.files:
                reference = await self._reference(app, place, request, prediction_id, now, stored)
                if reference is not None:
                    references[place] = reference
            values = replace_places(values, references)
        if not checked.secrets:
            return values, None
        return put_in(values, dict.fromkeys(checked.secrets, _MASK)), self._seal(checked)

    def _seal(self, checked: CheckedInputs) -> bytes:
        places = [[list(pointer), _at(checked.values, pointer)] for pointer in checked.secrets]
        return self._vault.seal(json.dumps(places).encode())

    async def _reference(
        self,
        app: App,
        place: FilePlace,
        request: PredictionRequest,
        prediction_id: PredictionId,
        now: datetime,
        stored: list[FileId],
    ) -> str | None:
        """What stands for a file that is ours, or becomes ours; ``None`` for one that stays where it is."""
        file_id = request.own_file(place.value)
        if file_id is not None:
            known = await self._files.get(file_id)
            if known is None:
                raise NotFound("file", file_id)
            return known.reference
        if not place.value.startswith("data:") or len(place.value) <= self._options.inline_bytes:
            return None
        content_type, content = _read_data_url(place.value)
        new = NewFile(
            owner=app.name.owner,
            name="input",
            content_type=content_type,
            origin=Origin.INPUT,
            expires_at=now + self._options.keep_files,
            prediction=prediction_id,
        )
        limit, quota = self._options.file_bytes, self._options.quota_bytes
        file = await self._files.put(new, _once(content), now=now, limit=limit, quota=quota)
        stored.append(file.id)
        return file.reference

    async def _remove(self, files: Iterable[FileId]) -> None:
        for file_id in files:
            with contextlib.suppress(OutsideFailed):  # it expires anyway
                await self._files.remove(file_id)


def _earliest(now: datetime, *delays: timedelta | None) -> datetime | None:
    known = [delay for delay in delays if delay is not None]
    return now + min(known) if known else None


def _at(values: Any, pointer: tuple[str | int, ...]) -> Any:
    for step in pointer:
        values = values[step]
    return values


def _read_data_url(url: str) -> tuple[str | None, bytes]:
    head, comma, body = url[len("data:") :].partition(",")
    content_type, *parameters = head.split(";")
    try:
        if not comma:
            raise ValueError("it has no comma")
        content = base64.b64decode(body, validate=False) if "base64" in parameters else urllib.parse.unquote_to_bytes(body)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"a data URL in the input cannot be read: {error}") from error
    return content_type or None, content


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
