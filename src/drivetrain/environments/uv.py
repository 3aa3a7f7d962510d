"""Call uv, tell its progress, and put its failures into our words."""

from __future__ import annotations

import re
import subprocess
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drivetrain.environments.environment import Progress
from drivetrain.model.errors import DrivetrainError, OutsideFailed, ProjectError
from drivetrain.settings import Settings

#: What pip is told by its own variables, uv is told by others. A company's mirror is usually set for pip.
_PIP_VARIABLES = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "COG_CA_CERT": "SSL_CERT_FILE",
}

#: Enough of uv's output to explain a failure; a failed build of a package prints its whole log.
_KEPT_LINES = 60

_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_NETWORK = re.compile(
    r"error sending request|dns error|tcp connect error|client error \(connect\)|connection (refused|reset|closed)|"
    r"network is unreachable|operation timed out|failed to fetch|tunnel error|unsuccessful tunnel",
    re.IGNORECASE,
)
_NOT_FOUND = re.compile(r"Because (\S+) was not found in the (?:package registry|provided package locations)")
_BUILD = re.compile(r"Failed to (?:build|download and build) `?([^`\n]+)`?")


@dataclass(frozen=True, kw_only=True)
class UvFailure:
    """A call of uv that failed, with the end of what it said."""

    output: str

    @property
    def is_network(self) -> bool:
        """Whether something could not be reached."""
        return _NETWORK.search(self.output) is not None

    @property
    def is_conflict(self) -> bool:
        """Whether the requirements cannot be met together."""
        return "No solution found" in self.output and not self.is_network

    def explain(self, doing: str) -> DrivetrainError:
        """The error to raise.

        Args:
            doing: What failed, as in "cannot install the project's requirements".
        """
        if "No space left on device" in self.output:
            return OutsideFailed(f"{doing}: the disk is full", hint="free some space, or set DRIVETRAIN_CACHE_DIR to another disk")
        if "ermission denied" in self.output:
            return OutsideFailed(f"{doing}: permission denied", detail=self.output)
        if self.is_network:
            return OutsideFailed(
                f"{doing}: the package index cannot be reached",
                detail=self.output,
                hint="check the network; --env host runs the project with the Python on PATH and what is installed there",
            )
        if match := _NOT_FOUND.search(self.output):
            return ProjectError(
                f"{doing}: there is no package '{match[1]}'", detail=self.output, hint="correct its name in the requirements"
            )
        if self.is_conflict:
            return ProjectError(
                f"{doing}: they cannot be met together", detail=self.output, hint="change one of the versions named above"
            )
        if match := _BUILD.search(self.output):
            return ProjectError(
                f"{doing}: building '{match[1]}' from source failed",
                detail=self.output,
                hint="the log above says why; a version that has a wheel for this Python needs no building",
            )
        return OutsideFailed(doing, detail=self.output)


def uv_binary(settings: Settings | None = None) -> str:
    """Path of the uv program: the configured one, else the one that came with drivetrain."""
    if settings is not None and settings.uv is not None:
        return str(settings.uv)
    import uv

    return str(uv.find_uv_bin())


def run_uv(
    arguments: Sequence[str],
    settings: Settings,
    progress: Progress,
    *,
    directory: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> UvFailure | None:
    """Run uv to its end; ``None`` when it succeeded.

    Args:
        arguments: After ``uv``.
        settings: Where uv and its environment come from.
        progress: Told each line that uv writes.
        directory: What relative paths are relative to.
        variables: Set on top of the environment.

    Raises:
        OutsideFailed: uv cannot be started.
    """
    command = [uv_binary(settings), "--color", "never", *arguments]
    try:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env={**_environ(settings), **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise OutsideFailed(f"cannot start uv at '{command[0]}': {error.strerror}") from error
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    with process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                lines.append(_ESCAPES.sub("", line.rstrip("\n")))
                progress.detail(lines[-1])
        except BaseException:
            process.kill()
            raise
    return None if process.returncode == 0 else UvFailure(output="\n".join(lines).strip())


def _environ(settings: Settings) -> dict[str, str]:
    environ = {name: value for name, value in settings.environ.items() if name not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
    for pip_name, uv_name in _PIP_VARIABLES.items():
        if environ.get(pip_name) and uv_name not in environ:
            environ[uv_name] = environ[pip_name]
    return environ
