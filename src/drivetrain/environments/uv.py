"""Call uv, and tell its progress."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from drivetrain.environments.environment import Progress
from drivetrain.environments.uv_failure import UvFailure
from drivetrain.model.errors import OutsideFailed
from drivetrain.settings import Settings

#: What pip is told by its own variables, uv is told by others. A company's mirror is usually set for pip.
_PIP_VARIABLES = {
    "PIP_INDEX_URL": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "PIP_EXTRA_INDEX_URL": ("UV_INDEX", "UV_EXTRA_INDEX_URL"),
    "PIP_FIND_LINKS": ("UV_FIND_LINKS",),
    "PIP_TRUSTED_HOST": ("UV_INSECURE_HOST",),
    "PIP_CERT": ("SSL_CERT_FILE",),
}

#: Variables about another environment than the one that is being made.
_FOREIGN = ("VIRTUAL_ENV", "CONDA_PREFIX", "UV_SYSTEM_PYTHON", "UV_PYTHON", "PYTHONHOME")

#: Begin lines that say nothing to those who do not call uv themselves.
_UNTOLD = ("Using ", "Creating ", "Activate ", "warning: ", " + ", "\n")

_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


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
    lines: Iterable[str] = (),
) -> UvFailure | None:
    """Run uv to its end; ``None`` when it succeeded.

    Args:
        arguments: After ``uv``.
        settings: Where uv and its environment come from.
        progress: Told each line that uv writes.
        directory: What relative paths are relative to.
        variables: Set on top of the environment.
        lines: Given to uv on its standard input.

    Raises:
        OutsideFailed: uv cannot be started.
    """
    environ = {**settings.environ, **(variables or {})}
    command = [uv_binary(settings), "--color", "never", *_configuration(environ), *arguments]
    output = []
    with _started(command, directory, _environ_for_uv(environ, settings)) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError), process.stdin:  # uv may have failed before it has read them
            process.stdin.writelines(f"{line}\n" for line in lines)
        for line in process.stdout:
            output.append(_ESCAPES.sub("", line.rstrip("\n")))
            if not line.startswith(_UNTOLD):
                progress.detail(output[-1])
    return None if process.returncode == 0 else UvFailure("\n".join(output))


@contextlib.contextmanager
def _started(command: Sequence[str], directory: Path | None, environ: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A process in a session of its own: it cannot ask questions on the terminal, and it is killed together with its children."""
    try:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise OutsideFailed(f"cannot start uv at '{command[0]}': {error.strerror or error}") from error
    with process:
        try:
            yield process
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise


def _configuration(environ: Mapping[str, str]) -> list[str]:
    """The user's configuration of uv counts, that of the project's directory does not: Cog builds without it."""
    if environ.get("UV_CONFIG_FILE"):
        return []
    home = Path(environ.get("XDG_CONFIG_HOME") or _home(environ) / ".config")
    for file in (home / "uv" / "uv.toml", Path("/etc/uv/uv.toml")):
        if file.is_file():
            return ["--config-file", str(file)]
    return ["--no-config"]


def _environ_for_uv(environ: Mapping[str, str], settings: Settings) -> dict[str, str]:
    result = {name: value for name, value in environ.items() if name not in _FOREIGN}
    for pip_name, uv_names in _PIP_VARIABLES.items():
        if environ.get(pip_name) and not any(map(environ.get, uv_names)):
            result[uv_names[0]] = environ[pip_name]
    if "UV_FIND_LINKS" not in environ and "UV_FIND_LINKS" in result:
        result["UV_FIND_LINKS"] = ",".join(result["UV_FIND_LINKS"].split())  # pip parts them by spaces
    certificates = Path(environ.get("COG_CA_CERT") or os.devnull)
    if certificates.is_file():
        result["SSL_CERT_FILE"] = str(certificates)
    if not environ.get("UV_CACHE_DIR") and not _can_link_to_default_cache(environ, settings):
        result["UV_CACHE_DIR"] = str(settings.cache_directory.absolute() / "uv")
    return result


def _can_link_to_default_cache(environ: Mapping[str, str], settings: Settings) -> bool:
    """Whether uv's usual cache, which may hold much already, is on the disk that environments are on."""
    cache = Path(environ.get("XDG_CACHE_HOME") or _home(environ) / ".cache") / "uv"
    usual, ours = _nearest_directory(cache), _nearest_directory(settings.cache_directory.absolute())
    return usual.stat().st_dev == ours.stat().st_dev and os.access(usual, os.W_OK)


def _nearest_directory(path: Path) -> Path:
    return next(directory for directory in (path, *path.parents) if directory.is_dir())


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or Path.home())
