"""What runners write outside of predictions, by app: live, and the latest of it on disk."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

from drivetrain.platform.app import AppName
from drivetrain.platform.clock import Clock
from drivetrain.platform.fleet import RunnerId

#: So many lines wait for a reader that lags behind; it misses those before them.
_MOST_PENDING = 10_000

#: So much of a line is kept; a model that writes no line ends must not fill the memory.
_LONGEST_LINE = 64 * 1024

_FLUSH_SECONDS = 0.5


class _AppLog:
    """One app's log."""

    def __init__(self, path: Path, limit: int) -> None:
        self.path = path
        self.limit = limit
        self.unwritten: list[str] = []
        self.readers: list[_Reader] = []
        self.partial: dict[RunnerId, str] = {}

    def write(self) -> None:
        """Append what is new to the file, of which the older half goes when it has become too large."""
        lines, self.unwritten = self.unwritten, []
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(lines)
        if self.path.stat().st_size > self.limit:
            self.path.replace(self.path.with_suffix(".log.1"))

    def latest(self, count: int) -> list[str]:
        """The latest lines on disk."""
        lines: deque[str] = deque(maxlen=count)
        for path in (self.path.with_suffix(".log.1"), self.path):
            with contextlib.suppress(FileNotFoundError), path.open(encoding="utf-8", errors="surrogateescape") as file:
                lines.extend(file)
        return list(lines)


class _Reader:
    """Somebody who follows a log."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=_MOST_PENDING)
        self.news = asyncio.Event()


class RunnerLogs:
    """Owns the logs of all apps.

    Args:
        directory: Where they go.
        limit: How many bytes of each app's are kept, twice over at most.
    """

    def __init__(self, directory: Path, limit: int, clock: Clock) -> None:
        self._directory = directory
        self._limit = limit
        self._clock = clock
        self._logs: dict[AppName, _AppLog] = {}
        self._has_news = asyncio.Event()

    def add(self, app: AppName, runner: RunnerId, text: str) -> None:
        """Take text that a runner wrote; lines are kept when they are whole."""
        log = self._log(app)
        text = log.partial.pop(runner, "") + text
        *lines, rest = text.split("\n")
        if len(rest) > _LONGEST_LINE:
            lines, rest = [*lines, rest], ""
        if rest:
            log.partial[runner] = rest
        stamp = f"{self._clock.now():%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
        for line in lines:
            self._add_line(log, f"{stamp} {runner} {line[:_LONGEST_LINE]}\n")

    def end(self, app: AppName, runner: RunnerId) -> None:
        """A runner has ended: what it left of a line is one."""
        log = self._log(app)
        if runner in log.partial:
            self.add(app, runner, "\n")

    async def read(self, app: AppName, *, follows: bool, lines: int) -> AsyncIterator[str]:
        """The latest lines, then, if it ``follows``, whatever comes until the reader leaves."""
        log = self._log(app)
        reader = _Reader()
        await self.flush()
        log.readers.append(reader)
        try:
            for line in await asyncio.to_thread(log.latest, lines):
                yield line
            while follows:
                while reader.lines:
                    yield reader.lines.popleft()
                reader.news.clear()
                await reader.news.wait()
        finally:
            log.readers.remove(reader)

    async def remove(self, app: AppName) -> None:
        """Delete an app's log."""
        log = self._logs.pop(app, None) or self._log(app)
        self._logs.pop(app, None)
        for path in (log.path, log.path.with_suffix(".log.1")):
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def keep_writing(self) -> None:
        """One round of writing what has come."""
        await self._has_news.wait()
        await asyncio.sleep(_FLUSH_SECONDS)  # many lines, one write
        self._has_news.clear()
        await self.flush()

    async def flush(self) -> None:
        """Write what has come until now. A disk that is full costs log lines, not predictions."""
        for log in list(self._logs.values()):
            if log.unwritten:
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(log.write)

    def _log(self, app: AppName) -> _AppLog:
        log = self._logs.get(app)
        if log is None:
            log = self._logs[app] = _AppLog(self._directory / app.owner / f"{app.name}.log", self._limit)
        return log

    def _add_line(self, log: _AppLog, line: str) -> None:
        log.unwritten.append(line)
        self._has_news.set()
        for reader in log.readers:
            reader.lines.append(line)
            reader.news.set()
