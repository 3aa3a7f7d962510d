"""One platform for a state directory: the lock file, which also says who holds it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from drivetrain.model.errors import Misuse, OutsideFailed

_POLL_SECONDS = 0.05


class PlatformRunning(Misuse):
    """A platform runs on this state directory."""

    code = "platform_running"


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds a lock."""

    pid: int
    url: str


class StateLock:
    """The lock of a state directory; given up by the kernel when its process ends, however that happens.

    Args:
        directory: Made if it is not there, for this user alone.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = directory / "lock"
        self._descriptor: int | None = None

    def __enter__(self) -> StateLock:
        """Take the lock.

        Raises:
            PlatformRunning: Another platform has it.
            OutsideFailed: The directory cannot be used.
        """
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise OutsideFailed(f"the state directory '{self._directory}' cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise self._running() from None
        os.ftruncate(descriptor, 0)
        self._descriptor = descriptor
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def tell(self, url: str) -> None:
        """Write down who holds the lock."""
        assert self._descriptor is not None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(asdict(Holder(pid=os.getpid(), url=url))).encode(), 0)

    def _running(self) -> PlatformRunning:
        holder = read_holder(self._directory)
        who = f" (process {holder.pid}, {holder.url})" if holder is not None else ""
        return PlatformRunning(
            f"a platform is running on '{self._directory}' already{who}",
            hint="'drivetrain down' stops it; another one needs a --state and a --port of its own",
        )


def read_holder(directory: Path) -> Holder | None:
    """Who holds the lock of a state directory; ``None`` if nobody does, or has not said so yet."""
    try:
        with (directory / "lock").open("r+b") as file:
            if not _is_held(file.fileno()):
                return None
            holder = json.loads(file.read())
            return Holder(pid=int(holder["pid"]), url=str(holder["url"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def wait_until_free(directory: Path, seconds: float) -> bool:
    """Wait until nobody holds the lock; whether that happened in time."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(FileNotFoundError), (directory / "lock").open("r+b") as file:
        while _is_held(file.fileno()):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)
    return True


def _is_held(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False
