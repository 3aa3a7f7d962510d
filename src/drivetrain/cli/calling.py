"""A prediction on a platform, followed from here: files up, events as they come, files down, and the same print-out as ``run``."""

from __future__ import annotations

import contextlib
import signal
import tempfile
import threading
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drivetrain.cli.outputs import FileNames, Printer, deliver_summary, has_files, write_result
from drivetrain.cli.platform_client import PlatformClient, PlatformFailed, ServerSentEvent
from drivetrain.cli.prediction import Inputs
from drivetrain.cli.table import read_time
from drivetrain.cli.terminal import Terminal
from drivetrain.model.errors import DrivetrainError, Misuse
from drivetrain.model.inputs import InputChecker, replace_places
from drivetrain.model.json_value import Pointer, put_in
from drivetrain.model.prediction import (
    Completed,
    Event,
    Failure,
    Log,
    Metric,
    MetricMode,
    Output,
    OutputFile,
    OutputValue,
    Prediction,
    PredictionId,
    Source,
    Started,
    Status,
)
from drivetrain.model.project import Mode
from drivetrain.model.signature import Signature
from drivetrain.serving.media_type import guess_type

_CHUNK_BYTES = 256 * 1024

#: A platform that was restarted is asked again for so long before a call is given up; the prediction itself goes on.
_PATIENCE_SECONDS = 60.0
_FIRST_DELAY_SECONDS = 0.2
_LONGEST_DELAY_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the user asked for.

    Attributes:
        target: Where output goes, from ``-o``.
        as_json: Whether to print one JSON object instead of the output.
        revision: A certain one; ``None`` leaves it to the app.
    """

    inputs: Inputs
    target: Path | None
    as_json: bool
    mode: Mode
    revision: str | None
    priority: str


class Call:
    """One call of an app.

    Args:
        client: Talks to the platform.
        app: ``owner/name``.
        wish: What is asked for.
        terminal: For logs and messages.
    """

    def __init__(self, client: PlatformClient, app: str, wish: Wish, terminal: Terminal) -> None:
        self._client = client
        self._app = app
        self._wish = wish
        self._terminal = terminal
        self._signature = self._read_signature()
        self._follower: _Follower | None = None
        self._is_interrupted = False

    def submit(self) -> dict[str, Any]:
        """Upload the files, and have the prediction accepted; the prediction as the platform shows it."""
        return self._accepted(self._body())

    def run(self) -> int:
        """Follow the prediction to its end, and print what it gives; the exit status."""
        body = self._body()
        # From here on there may be a prediction, which Ctrl-C must not leave behind unseen.
        with _interrupted_by(self._interrupt), tempfile.TemporaryDirectory(prefix="drivetrain-call-") as directory:
            accepted = self._accepted(body)
            follower = _Follower(self._client, accepted, self._wish, self._terminal, self._signature, Path(directory))
            self._follower = follower
            if self._is_interrupted:
                follower.interrupt()
            return follower.finish()

    def _body(self) -> dict[str, Any]:
        return {
            "input": self._uploaded_inputs(),
            "mode": self._wish.mode.value,
            "priority": self._wish.priority,
            "revision": self._wish.revision,
        }

    def _accepted(self, body: Mapping[str, Any]) -> dict[str, Any]:
        # With a key, sending it again after a broken connection gives the same prediction, not a second one.
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        for delay in _delays():
            try:
                return dict(self._client.post(f"/apps/{self._app}/predictions", body, headers=headers))
            except PlatformFailed as error:
                if not error.is_lost:
                    raise
                lost = error
            time.sleep(delay)
        raise lost

    def _interrupt(self) -> None:
        if self._follower is not None:
            self._follower.interrupt()
        elif self._is_interrupted:
            raise KeyboardInterrupt
        self._is_interrupted = True

    def _read_signature(self) -> Signature | None:
        if self._wish.revision is not None:
            revision = self._client.get(f"/revisions/{self._wish.revision}")
        else:
            revision = self._client.get(f"/apps/{self._app}")["latest"]
        if revision is None:
            return None  # nothing is deployed; the platform says so when it is asked to run it
        wire = revision["signature" if self._wish.mode is Mode.PREDICT else "train_signature"]
        return Signature.from_wire(wire) if wire is not None else None

    def _uploaded_inputs(self) -> Mapping[str, Any]:
        if self._signature is None:
            return self._wish.inputs.as_given()
        values = self._wish.inputs.check(self._signature)
        checked = InputChecker(self._signature).check(values, local_files=True, strict=True)
        local = {place: self._upload(Path(place.value)) for place in checked.files if place.is_local}
        return replace_places(checked.values, local)

    def _upload(self, path: Path) -> str:
        url: str = self._client.upload(path.name, guess_type(path.name), _content(path))["url"]
        return url


class _Follower:
    def __init__(
        self,
        client: PlatformClient,
        accepted: Mapping[str, Any],
        wish: Wish,
        terminal: Terminal,
        signature: Signature | None,
        directory: Path,
    ) -> None:
        self._client = client
        self._accepted = accepted
        self._wish = wish
        self._terminal = terminal
        self._concatenates = signature is not None and signature.concatenates
        self._directory = directory
        self._origin = str(accepted["urls"]["get"]).partition("/api/")[0]
        self._last_id: str | None = None
        self._files = 0
        self._is_canceling = False
        self._delays = _delays()
        self._begin()

    def _begin(self) -> None:
        """Take the prediction up from its beginning."""
        self._prediction = Prediction(
            id=PredictionId(self._accepted["id"]),
            input={},
            created_at=read_time(self._accepted["created_at"]),
            streams=self._accepted["streams"],
        )
        self._names = FileNames(self._wish.target, has_summary=self._wish.as_json)
        self._printer = Printer(self._terminal, self._names, concatenates=self._concatenates, streams=self._accepted["streams"])

    def interrupt(self) -> None:
        """Cancel the prediction, and go on waiting for its end; called again, do not.

        Raises:
            KeyboardInterrupt: The second time.
        """
        if self._is_canceling:
            self._terminal.note(f"It goes on; 'drivetrain predictions get {self._accepted['id']}' shows it")
            raise KeyboardInterrupt
        self._is_canceling = True
        self._terminal.note("Canceling the prediction; press Ctrl-C again to leave it behind")
        # From a thread: this is called in the middle of whatever the main one does, such as reading the stream.
        threading.Thread(target=self._cancel, daemon=True).start()

    def _cancel(self) -> None:
        try:
            self._client.post(f"/predictions/{self._accepted['id']}/cancel")
        except DrivetrainError as error:
            self._terminal.show(error)

    def finish(self) -> int:
        """Follow to the end, and give the user what has not been printed on the way."""
        while not self._prediction.status.is_terminal:
            try:
                self._follow()
            except PlatformFailed as error:
                if not error.is_lost:
                    raise
                delay = next(self._delays, None)
                if delay is None:
                    error.hint = f"the prediction goes on; 'drivetrain predictions get {self._accepted['id']}' shows it"
                    raise
                time.sleep(delay)
        self._deliver()
        return self._report()

    def _follow(self) -> None:
        """Take events until the prediction's end.

        Raises:
            PlatformFailed: The platform refuses, or is lost: where it is stopped, it ends the stream early.
        """
        path = f"/predictions/{self._accepted['id']}/events"
        with self._client.events(path, after=self._last_id) as events:
            for event in events:
                self._take(event)
                if event.id is not None:  # the stream got on, and the next loss is another one
                    self._last_id = event.id
                    self._delays = _delays()
                if self._prediction.status.is_terminal:
                    return
        ended = PlatformFailed(f"'{self._client.url}' ended the stream of events before the prediction")
        ended.is_lost = True
        raise ended

    def _take(self, sent: ServerSentEvent) -> None:
        if sent.name == "restarted":
            self._terminal.note(f"The runner was lost; attempt {sent.data['attempt']} begins")
            self._begin()
            return
        event = self._event(sent)
        if event is None:
            return
        self._prediction.apply(event)
        if isinstance(event, Log):
            self._terminal.text(event.data)
        elif not self._wish.as_json and self._wish.target is None:
            self._printer.watch(event)

    def _event(self, sent: ServerSentEvent) -> Event | None:
        data = sent.data
        match sent.name:
            case "start":
                return Started(at=read_time(data["at"]))
            case "output":
                return Output(output=self._fetched(data["value"]))
            case "log":
                return Log(source=Source(data["source"]), data=data["data"])
            case "metric":
                return Metric(name=data["name"], value=data["value"], mode=MetricMode(data["mode"]))
            case "completed":
                failure = data["error"]
                return Completed(
                    status=Status(data["status"]),
                    at=read_time(data["completed_at"]),
                    failure=Failure(message=failure["message"], traceback=failure["traceback"]) if failure else None,
                )
        return None  # of a newer platform

    def _fetched(self, value: Any) -> OutputValue:
        """An output with its files downloaded."""
        urls = dict(_texts(value, (), f"{self._origin}/files/"))
        files = tuple(self._download(pointer, url) for pointer, url in urls.items())
        return OutputValue(value=put_in(value, dict.fromkeys(urls)) if urls else value, files=files)

    def _download(self, pointer: Pointer, url: str) -> OutputFile:
        self._files += 1
        name = Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name or "file"
        path = self._directory / str(self._files) / name
        path.parent.mkdir()
        with path.open("wb") as file:
            file.writelines(self._client.download(url))
        return OutputFile(pointer=pointer, path=path, name=name)

    def _deliver(self) -> None:
        prediction, target = self._prediction, self._wish.target
        if self._wish.as_json:
            deliver_summary(prediction, self._names, self._terminal, indent=True, known_as={"id": prediction.id})
        elif target is None or has_files(prediction):
            if target is not None:
                self._printer.print_all(prediction)
            if prediction.status is Status.SUCCEEDED or prediction.outputs:
                self._printer.finish()
        elif prediction.outputs:
            path = write_result(prediction, self._names, concatenates=self._concatenates)
            self._terminal.note(f"Written output to: {path}")
        elif prediction.status is Status.SUCCEEDED:
            self._printer.finish()

    def _report(self) -> int:
        prediction = self._prediction
        if prediction.status is Status.SUCCEEDED:
            return 0
        if prediction.failure is not None:
            self._terminal.error(f"the prediction failed: {prediction.failure.message}")
        else:
            self._terminal.error("the prediction was canceled")
        return 1


@contextlib.contextmanager
def _interrupted_by(interrupt: Callable[[], None]) -> Iterator[None]:
    """Have Ctrl-C call something, while the block lasts, instead of breaking it off."""
    before = signal.signal(signal.SIGINT, lambda _number, _frame: interrupt())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _delays() -> Iterator[float]:
    """Seconds to wait before asking again, until the patience is at its end, which begins when the first one is asked for."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    delay = _FIRST_DELAY_SECONDS
    while time.monotonic() < deadline:
        yield delay
        delay = min(delay * 2, _LONGEST_DELAY_SECONDS)


def _texts(value: Any, pointer: Pointer, prefix: str) -> Iterator[tuple[Pointer, str]]:
    """The texts in a JSON value that begin with a prefix, by their places."""
    if isinstance(value, str):
        if value.startswith(prefix):
            yield pointer, value
        return
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _texts(inner, (*pointer, key), prefix)


def _content(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
    except OSError as error:
        raise Misuse(f"cannot read '{path}': {error.strerror or error}") from error
