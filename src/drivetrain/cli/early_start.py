"""Start the interpreter of a project's worker before anything else, as it was started the last time.

What a worker is started with (which Python, where, with which variables) is known once the settings, the config and the environment
have been read, and nearly always it is what it was at the last start from the same directory. So that is noted, and an interpreter
started with it at once; to get ready takes it as long as it takes us to read all that. It runs nothing of the project's: what to
load it is told later. Before that, what it was started with is compared, in full, with what it should have been. If anything
differs it is ended, and another one is started.
"""

from __future__ import annotations

import binascii
import contextlib
import os
import signal
import time
from collections.abc import Mapping

from drivetrain.model.cache_place import cache_directory
from drivetrain.serving.spawning import ProcessCommand, connections, new_family, spawn

#: To be raised when notes of before must not be used any more.
_FORMAT = "1"

#: Notes that were made so long ago are removed.
_KEPT_SECONDS = 60 * 24 * 3600

#: Of what ``serve`` is told, what decides about the process, and what does not. With anything else, nothing is started early.
_DECIDES = ("config_name", "realisation", "mode")
_DECIDES_NOTHING = ("port", "host", "queue", "upload_url", "allow_private", "cors_origin", "body_megabytes", "stream_marked_only")


class EarlyWorker:
    """An interpreter under way that may become a worker.

    Args:
        command: What to start it with.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(self, command: ProcessCommand) -> None:
        self.command = command
        self.family = new_family()
        with connections() as ends:
            self.process = spawn(command, [str(ends.their_connection.fileno())], ends, self.family)
            self.connection = ends.connection
            self.log = ends.log

    def discard(self) -> None:
        """End it: nobody wants it."""
        self.connection.close()
        os.close(self.log)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class StartNote:
    """The file in which it is noted what the worker of a command line is started with.

    Args:
        said: What the words say.
        directory: The working directory.
        environ: Our environment variables.
    """

    def __init__(self, said: Mapping[str, object], directory: str, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._key = os.fsencode("\n".join([_FORMAT, directory, *(f"{said.get(name)}" for name in _DECIDES)]))
        self._place = f"{cache_directory(environ, environ['HOME'])}/starts"
        self._file = f"{self._place}/{binascii.crc32(self._key):08x}"

    def read(self) -> ProcessCommand | None:
        """What was noted, if there is anything; only what this user has written, and nobody else can."""
        try:
            with open(self._file, "rb") as file:  # noqa: PTH123 (pathlib takes longer to import than all this)
                status = os.fstat(file.fileno())
                if status.st_uid != os.geteuid() or status.st_mode & 0o022:
                    return None
                key, python, package, directory, *variables = file.read().split(b"\0")
        except (OSError, ValueError):
            return None
        if key != self._key:
            return None
        changes = (os.fsdecode(each).partition("=")[::2] for each in variables)
        arguments = (os.fsdecode(python), os.fsdecode(package))
        return ProcessCommand(arguments, os.fsdecode(directory), {**self._environ, **dict(changes)})

    def write(self, command: ProcessCommand) -> None:
        """Note what it is this time; what cannot be noted is not."""
        changes = {name: value for name, value in command.variables.items() if self._environ.get(name) != value}
        parts = (*command.arguments, command.directory, *(f"{name}={value}" for name, value in changes.items()))
        begun = f"{self._file}.{os.getpid()}"
        with contextlib.suppress(OSError):
            os.makedirs(self._place, exist_ok=True)  # noqa: PTH103 (as above)
            _sweep(self._place)
            # Readable for its owner alone: variables may be secrets.
            with open(begun, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(b"\0".join([self._key, *map(os.fsencode, parts)]))
            os.replace(begun, self._file)  # noqa: PTH105 (as above)


class EarlyStart:
    """Owns the worker that was started early, if one was, until it is taken.

    Args:
        said: What the words of the command line say, if they are plain.
        environ: Our environment variables.
    """

    def __init__(self, said: Mapping[str, object] | None, environ: Mapping[str, str]) -> None:
        self._note = _note_for(said, environ)
        self._worker: EarlyWorker | None = None
        command = self._note.read() if self._note is not None else None
        if command is not None:
            with contextlib.suppress(OSError):  # it will be found out, and said, what is wrong with it
                self._worker = EarlyWorker(command)

    def take(self, command: ProcessCommand) -> EarlyWorker | None:
        """The worker, if it was started with what it is to be started with; otherwise that is noted for the next time."""
        worker = self._worker
        if worker is not None and worker.command == command:
            self._worker = None
            return worker
        if self._note is not None:
            self._note.write(command)
        return None

    def close(self) -> None:
        """End the worker if nobody has taken it. May be called twice."""
        if self._worker is not None:
            self._worker.discard()
            self._worker = None


def _note_for(said: Mapping[str, object] | None, environ: Mapping[str, str]) -> StartNote | None:
    if said is None or not said.keys() <= {*_DECIDES, *_DECIDES_NOTHING} or not environ.get("HOME"):
        return None
    try:
        return StartNote(said, os.getcwd(), environ)  # noqa: PTH109 (as above)
    except OSError:  # the directory is gone
        return None


def _sweep(directory: str) -> None:
    oldest = time.time() - _KEPT_SECONDS
    for entry in os.scandir(directory):
        if entry.stat().st_mtime < oldest:
            os.unlink(entry.path)  # noqa: PTH108 (as above)
