"""Where runners read their input files and leave their output files: below a URL that is each runner's own and ends with it."""

from __future__ import annotations

import urllib.parse
from collections.abc import AsyncIterator

from drivetrain.model.prediction import PredictionId
from drivetrain.platform.access import NotFound
from drivetrain.platform.app import AppName
from drivetrain.platform.clock import Clock
from drivetrain.platform.files import FileId, FileStore, NewFile, Origin, StoredFile, map_texts, read_reference
from drivetrain.platform.fleet import RunnerId
from drivetrain.platform.ids import Ids
from drivetrain.platform.options import PlatformOptions


class RunnerFiles:
    """One runner's files.

    Args:
        url: Below which it reads and writes them.
    """

    def __init__(self, url: str, app: AppName, files: FileStore, clock: Clock, options: PlatformOptions) -> None:
        self.url = url
        self.app = app
        self._files = files
        self._clock = clock
        self._options = options

    async def get(self, file_id: FileId) -> StoredFile:
        """A file that an input of the runner refers to.

        Raises:
            NotFound: There is none of that id.
        """
        stored = await self._files.get(file_id)
        if stored is None:
            raise NotFound("file", file_id)
        return stored

    async def put(
        self, prediction_id: PredictionId, name: str, content_type: str | None, content: AsyncIterator[bytes]
    ) -> StoredFile:
        """Store an output file."""
        now = self._clock.now()
        new = NewFile(
            owner=self.app.owner,
            name=name,
            content_type=content_type,
            origin=Origin.OUTPUT,
            expires_at=now + self._options.keep_files,
            prediction=prediction_id,
        )
        limit, quota = self._options.file_bytes, self._options.quota_bytes
        return await self._files.put(new, content, now=now, limit=limit, quota=quota)

    def url_of(self, file_id: FileId, name: str) -> str:
        """Where the runner finds a file."""
        return f"{self.url}/files/{file_id}/{urllib.parse.quote(name)}"

    def outward(self, value: object) -> object:
        """An input with URLs for the runner instead of references."""

        def change(text: str) -> str:
            found = read_reference(text)
            return self.url_of(*found) if found else text

        return map_texts(value, change)

    def inward(self, value: object) -> object:
        """An output with references instead of the runner's URLs."""
        prefix = f"{self.url}/files/"

        def change(text: str) -> str:
            if not text.startswith(prefix):
                return text
            reference = f"drivetrain://files/{urllib.parse.unquote(text[len(prefix) :])}"
            return reference if read_reference(reference) else text

        return map_texts(value, change)


class RunnerGate:
    """Owns the runners' URLs.

    Args:
        internal_url: Where runners reach the platform.
    """

    def __init__(self, internal_url: str, files: FileStore, clock: Clock, ids: Ids, options: PlatformOptions) -> None:
        self._internal_url = internal_url.rstrip("/")
        self._files = files
        self._clock = clock
        self._ids = ids
        self._options = options
        self._open: dict[str, RunnerFiles] = {}
        self._tokens: dict[RunnerId, str] = {}

    def open_for(self, runner_id: RunnerId, app: AppName) -> RunnerFiles:
        """Make a runner's URL."""
        token = self._tokens[runner_id] = self._ids.text(40)
        files = RunnerFiles(f"{self._internal_url}/runners/{token}", app, self._files, self._clock, self._options)
        self._open[token] = files
        return files

    def of(self, runner_id: RunnerId) -> RunnerFiles:
        """A runner's files."""
        return self._open[self._tokens[runner_id]]

    def find(self, token: str) -> RunnerFiles:
        """Whose URL this is.

        Raises:
            NotFound: Nobody's, or nobody's any more.
        """
        try:
            return self._open[token]
        except KeyError:
            raise NotFound("runner", "…") from None  # the token is nobody else's business

    def close_for(self, runner_id: RunnerId) -> None:
        """Make a runner's URL worthless. May be called twice."""
        self._open.pop(self._tokens.pop(runner_id, ""), None)
