"""Choose the interpreter that an environment is made from: one that is installed, or one that uv can fetch."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence

from drivetrain.environments.environment import Progress
from drivetrain.environments.installed import Interpreter, Version, fetched_interpreters, installed_interpreters, version_of
from drivetrain.environments.uv import run_uv
from drivetrain.model.errors import ProjectError
from drivetrain.settings import Settings

#: The worker runs on this version and later ones.
OLDEST: Version = (3, 8)

#: When the project does not say: the version that most packages have wheels for comes first.
PREFERRED: Sequence[Version] = ((3, 12), (3, 11), (3, 13), (3, 10), (3, 14), (3, 9), (3, 8))


def choose(request: str | None, installed: Iterable[Interpreter]) -> Interpreter | None:
    """The best of those installed for a request; pure.

    Where a patch version is asked for and not there, the latest of its minor version does: it has what that one had, mended.

    Args:
        request: ``MAJOR.MINOR`` or ``MAJOR.MINOR.PATCH``; ``None`` for any that suits.
        installed: What there is; of equal versions the first counts.
    """
    there = list(installed)
    wanted = version_of(request) if request is not None else None
    exact = next((interpreter for interpreter in there if interpreter.version == wanted), None)
    if exact is not None:
        return exact
    for minor in PREFERRED if wanted is None else [wanted[:2]]:
        candidates = [interpreter for interpreter in there if interpreter.version[:2] == minor]
        if candidates:
            return max(candidates, key=lambda interpreter: interpreter.version)
    return None


def find_interpreter(request: str | None, settings: Settings, progress: Progress) -> Interpreter:
    """Find the interpreter for a request among those installed, or have uv fetch it.

    Args:
        request: ``MAJOR.MINOR`` or ``MAJOR.MINOR.PATCH``; ``None`` for any that suits.
        settings: Where to look.
        progress: Told what is done.

    Raises:
        ProjectError: There is none and none can be fetched; names those that are there.
    """
    if request is not None and version_of(request)[:2] < OLDEST:
        raise ProjectError(
            f"Python {request} is too old: drivetrain runs models on Python 3.8 and later",
            hint="set build.python_version to a later one",
        )
    installed = list(installed_interpreters(settings))
    interpreter = choose(request, installed) or _fetch(request, installed, settings, progress)
    if request is not None and request.count(".") > 1 and str(interpreter) != request:
        progress.step(f"Python {request} is not installed; {interpreter} is used instead")
    return interpreter


def _fetch(request: str | None, installed: Sequence[Interpreter], settings: Settings, progress: Progress) -> Interpreter:
    version = request or ".".join(map(str, PREFERRED[0]))
    progress.step(f"Fetching Python {version}")
    failure = run_uv(["python", "install", "--no-bin", version], settings, progress, variables={"UV_HTTP_RETRIES": "1"})
    fetched = choose(version, fetched_interpreters(settings))
    if failure is None and fetched is not None:
        return fetched
    reason = failure.reason if failure is not None else "it is not where uv keeps interpreters"
    usable = sorted({interpreter.version for interpreter in installed if interpreter.version >= OLDEST})
    names = ", ".join(".".join(map(str, found)) for found in usable)
    there = f"this machine ({platform.machine()}) has {names}" if usable else "this machine has none that can be used"
    raise ProjectError(
        f"Python {version} is not installed and could not be fetched: {reason}; {there}",
        hint="install it (with uv, pyenv or the system's packages), set build.python_version to one that is there, "
        "or use --env host for the Python on PATH",
    )
