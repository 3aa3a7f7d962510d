"""Put output files where the owner of the server, or the client, wants them, instead of into the answer.

An upload stands between the worker and the record: an output with files is recorded once its files have been uploaded, and events
behind it wait, so order is kept. The worker's slot does not wait.
"""

from __future__ import annotations

import asyncio
import string
import urllib.parse
from collections import deque
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from drivetrain.model.errors import DrivetrainError, OutsideFailed
from drivetrain.model.json_value import put_in
from drivetrain.model.prediction import Event, Output, OutputFile, OutputValue
from drivetrain.serving.media_type import guess_type
from drivetrain.serving.run import Run

if TYPE_CHECKING:
    import httpx

_CONCURRENT_UPLOADS = 8
_ATTEMPTS = 4
_FIRST_DELAY = timedelta(milliseconds=200)
_WORTH_RETRYING = frozenset({408, 429, 500, 502, 503, 504})
_CHUNK_BYTES = 1024 * 1024


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where files go.

    Attributes:
        url: A file goes to this URL and its name.
        as_form: Whether to send it as a form's file, as the older Cog did for ``output_file_prefix``, or as the bare body.
    """

    url: str
    as_form: bool = False


class Uploader:
    """Uploads files; streamed from disk, tried again.

    Args:
        client: Makes the client when it is first needed.
    """

    def __init__(self, client: Callable[[], httpx.AsyncClient]) -> None:
        self._client = client

    async def upload(self, file: OutputFile, target: Target, prediction_id: str) -> str:
        """Upload one file; the URL it is then at.

        Raises:
            OutsideFailed: It could not be uploaded.
        """
        # The path's own name is the model's, made unique within the prediction.
        url = target.url.rstrip("/") + "/" + urllib.parse.quote(file.path.name)
        delay = _FIRST_DELAY
        problem = ""
        for _ in range(_ATTEMPTS):
            response, problem = await self._attempt(url, file, target, prediction_id)
            if response is not None:
                return _location(response)
            if not problem.startswith("retry: "):
                break
            await asyncio.sleep(delay.total_seconds())
            delay *= 2
        raise OutsideFailed(f"cannot upload '{file.name}' to '{target.url}': {problem.removeprefix('retry: ')}")

    async def _attempt(self, url: str, file: OutputFile, target: Target, prediction_id: str) -> tuple[httpx.Response | None, str]:
        import httpx

        headers = {"X-Prediction-ID": urllib.parse.quote(prediction_id, safe=string.punctuation)}
        try:
            if target.as_form:
                with file.path.open("rb") as content:
                    form = {"file": (file.name, content, guess_type(file.name))}
                    response = await self._client().put(url, files=form, headers=headers)
            else:
                headers |= {"Content-Type": guess_type(file.name), "Content-Length": str(file.path.stat().st_size)}
                response = await self._client().put(url, content=_Content(file.path), headers=headers)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, ValueError) as error:  # ValueError: a host that is no name
            return None, f"it is not a URL that can be called: {error}"
        except OSError as error:
            return None, f"the file cannot be read: {error.strerror or error}"
        except httpx.HTTPError as error:
            return None, f"retry: {str(error) or type(error).__name__}"
        if response.request.method != "PUT":  # a 302 or 303 is followed with a GET, as browsers do
            return None, f"it redirected the upload to '{response.url.copy_with(query=None)}' with a status that drops the file"
        if response.is_success:
            return response, ""
        again = "retry: " if response.status_code in _WORTH_RETRYING else ""
        return None, f"{again}it answered {response.status_code}"


class _Content:
    """A file as a request's body; read from its beginning each time, since a redirect asks for it once more."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with self._path.open("rb") as file:
            while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
                yield chunk


def _location(response: httpx.Response) -> str:
    """Where the file is: what the server says, else where it was put; signatures in the query are not for others."""
    location = response.headers.get("Location")
    url = response.url.join(location) if location else response.url
    return str(url.copy_with(query=None))


class UploadPassage:
    """Implements ``Passage`` for one run: output files are uploaded on the way.

    Args:
        run: Whose events pass.
        uploader: Uploads.
        target: Where to.
    """

    def __init__(self, run: Run, uploader: Uploader, target: Target) -> None:
        self._run = run
        self._uploader = uploader
        self._target = target
        self._waiting: deque[Event] = deque()
        self._task: asyncio.Task[None] | None = None
        self._uploads: asyncio.Future[list[str]] | None = None
        run.at_end(self._stop)

    def deliver(self, event: Event) -> None:
        """Implements ``Passage``."""
        if self._task is None and not (isinstance(event, Output) and event.output.files):
            self._run.apply(event)
            return
        self._waiting.append(event)
        if self._task is None:
            self._run.has_files = True
            self._task = asyncio.get_running_loop().create_task(self._work_off())

    async def _work_off(self) -> None:
        while self._waiting:
            event = self._waiting.popleft()
            try:
                self._run.apply(await self._uploaded(event))
            except DrivetrainError as error:
                self._run.fail(error.message)
            except Exception:
                self._run.fail("Its output files could not be uploaded: the server has a fault, and its log says more.")
                raise
        self._task = None

    def _stop(self) -> None:
        """Nobody wants the files of a prediction that has ended before they were uploaded."""
        if self._uploads is not None:
            self._uploads.cancel()

    async def _uploaded(self, event: Event) -> Event:
        if not isinstance(event, Output) or not event.output.files:
            return event
        output = event.output
        permits = asyncio.Semaphore(_CONCURRENT_UPLOADS)

        async def upload(file: OutputFile) -> str:
            async with permits:
                return await self._uploader.upload(file, self._target, self._run.id)

        self._uploads = asyncio.gather(*map(upload, output.files))
        urls = await self._uploads
        places = {file.pointer: url for file, url in zip(output.files, urls, strict=True)}
        return replace(event, output=OutputValue(value=put_in(output.value, places)))
