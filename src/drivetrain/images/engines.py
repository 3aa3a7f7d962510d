"""Container engines: podman, docker and buildah, as far as their command lines are alike and where they differ."""

from __future__ import annotations

import collections
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from drivetrain.environments.environment import Progress
from drivetrain.model.errors import Misuse, OutsideFailed
from drivetrain.settings import Settings

#: Those that can build, the ones first that need no daemon.
BUILDERS = ("buildah", "podman", "docker")
#: Those that can run.
RUNNERS = ("docker", "podman")

#: How much of what a failed engine said is repeated below everything else.
_LAST_LINES = 25

#: The major version of docker from which on it builds with buildx, which may not be installed.
_BUILDX_SINCE = 23
_WITHOUT_BUILDX = "docker without buildx"

_PACKAGES = {"buildah": "buildah", "podman": "podman", "docker": "docker.io (or Docker's own packages)"}


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A container engine on this machine.

    Attributes:
        name: ``podman``, ``docker`` or ``buildah``.
        program: Its path.
        environ: The environment it runs in.
    """

    name: str
    program: str
    environ: Mapping[str, str]

    def command(self, *arguments: str) -> list[str]:
        """A command line of it."""
        return [self.program, *arguments]

    def call(self, *arguments: str, progress: Progress | None = None, text: str | None = None) -> str:
        """Run it to its end; what it printed to standard output, without the warnings that engines write beside it.

        Args:
            arguments: After the program's name.
            progress: Told each line that it writes to either stream.
            text: Given to it on standard input.

        Raises:
            OutsideFailed: It failed; holds the last lines it wrote.
        """
        return run_program(self.command(*arguments), self.environ, progress=progress, text=text, what=self.name)

    def works(self) -> bool:
        """Whether it can do anything here; docker's program is often there without its daemon."""
        question = ("info", "--format", "{{.ServerVersion}}") if self.name == "docker" else ("version",)
        try:
            done = subprocess.run(
                self.command(*question),
                env=dict(self.environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=30,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0 and bool(done.stdout.strip())

    def builds(self) -> bool:
        """Whether it builds Dockerfiles as they are written today; newer versions of docker need a component more for that."""
        if self.name != "docker":
            return True
        try:
            version = self.call("version", "--format", "{{.Client.Version}}").strip()
            if int(version.partition(".")[0]) >= _BUILDX_SINCE:
                self.call("buildx", "version")
        except (OutsideFailed, ValueError):
            return False
        return True


def find_engine(name: str, settings: Settings, *, builds: bool = False) -> Engine:
    """The engine of a name, or for ``auto`` the first that is there and works.

    Raises:
        Misuse: There is no engine of that name.
        OutsideFailed: It is not on this machine, or does not work.
    """
    choices = BUILDERS if builds else RUNNERS
    if name not in ("auto", *choices):
        raise Misuse(f"there is no engine '{name}' for this", hint=f"the choices are {', '.join(choices)}")
    tried = []
    for one in choices if name == "auto" else (name,):
        program = shutil.which(one, path=settings.environ.get("PATH"))
        if program is None:
            continue
        engine = Engine(name=one, program=program, environ=settings.environ)
        if not engine.works():
            tried.append(one)
        elif builds and not engine.builds():
            tried.append(_WITHOUT_BUILDX)
        else:
            return engine
    if _WITHOUT_BUILDX in tried:
        raise OutsideFailed("'docker' cannot build here: it lacks buildx", hint="install docker-buildx, or podman or buildah")
    if tried:
        hint = "start its daemon, or let this user use it" if tried[-1] == "docker" else f"see what '{tried[-1]} info' says"
        raise OutsideFailed(f"'{tried[-1]}' is installed but does not work", hint=hint)
    wanted = name if name != "auto" else " or ".join((", ".join(choices[:-1]), choices[-1]))
    package = _PACKAGES[name if name != "auto" else choices[0]]
    without = "; or run the image without one: --engine unpack" if not builds and sys.platform.startswith("linux") else ""
    raise OutsideFailed(
        f"there is no container engine on this machine: {wanted}", hint=f"install one; on Debian: apt install {package}{without}"
    )


def run_program(
    command: Sequence[str],
    environ: Mapping[str, str],
    *,
    progress: Progress | None = None,
    text: str | None = None,
    directory: Path | None = None,
    what: str,
) -> str:
    """Run a program to its end; what it printed to standard output.

    Raises:
        OutsideFailed: It failed; holds the last lines it wrote, those of standard error at the end.
    """
    last_printed: collections.deque[str] = collections.deque(maxlen=_LAST_LINES)
    last_errors: collections.deque[str] = collections.deque(maxlen=_LAST_LINES)

    def told(lines: Iterable[str], last: collections.deque[str]) -> list[str]:
        printed = []
        for line in lines:
            printed.append(line)
            last.append(line.rstrip("\n"))
            if progress is not None:
                progress.detail(line.rstrip("\n"))
        return printed

    with ThreadPoolExecutor(1, thread_name_prefix="stderr") as pool, _started(command, environ, directory) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        errors = pool.submit(told, process.stderr, last_errors)
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(text or "")
        printed = told(process.stdout, last_printed)
        errors.result()
    if process.returncode == 0:
        return "".join(printed)
    raise OutsideFailed(
        f"'{what} {command[1]}' failed with exit status {process.returncode}",
        detail="\n".join([*last_printed, *last_errors]),
        hint="its last lines are above",
    )


@contextlib.contextmanager
def _started(command: Sequence[str], environ: Mapping[str, str], directory: Path | None) -> Iterator[subprocess.Popen[str]]:
    try:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise OutsideFailed(f"cannot start '{command[0]}': {error.strerror or error}") from error
    with process:
        try:
            yield process
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            raise
