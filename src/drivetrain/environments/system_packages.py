"""Debian packages that a project names and this host lacks: told, since only an image build can install them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable

from drivetrain.model.finding import Finding, Severity
from drivetrain.model.project import EnvironmentSpec

#: What apt-get takes: a package's name, perhaps with an architecture, and the version or release wanted.
_PACKAGE = re.compile(r"([a-z0-9][a-z0-9.+-]+)(?::\w+)?(?:[=/].*)?")


def missing_packages_finding(spec: EnvironmentSpec) -> Finding | None:
    """A warning that names the packages that are missing and the command that installs them."""
    if not spec.system_packages:
        return None
    if shutil.which("dpkg-query") is None:
        return _warning(
            f"the project asks for system packages that cannot be looked up here: {', '.join(spec.system_packages)}",
            "if it misses something, install what this system calls them",
        )
    missing = missing_packages(spec.system_packages)
    if not missing:
        return None
    return _warning(
        f"the project asks for system packages that are not installed: {', '.join(missing)}",
        f"run: sudo apt-get install {' '.join(missing)}",
    )


def missing_packages(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the Debian packages that are not installed, as they were given."""
    bare = {name: match[1] for name in names if (match := _PACKAGE.fullmatch(name))}
    answer = subprocess.run(
        ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Abbrev}\n", *bare.values()],  # noqa: S607 (the one on PATH is meant)
        capture_output=True,
        text=True,
        check=False,
    )
    pairs = (line.split(" ", 1) for line in answer.stdout.splitlines())
    installed = {package for package, status in pairs if status.startswith(("ii", "hi"))}
    return tuple(name for name, package in bare.items() if package not in installed)


def _warning(problem: str, remedy: str) -> Finding:
    return Finding(severity=Severity.WARNING, code="system-packages-missing", problem=problem, remedy=remedy)
