"""Does the host have what the project asks of it?"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from drivetrain.dialects.cog.doctor.case import Case, PythonFile
from drivetrain.dialects.cog.doctor.diagnosis import Diagnosis
from drivetrain.model.finding import Severity

#: First driver that runs programs built for a major version of CUDA, whatever the minor version.
_OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}

#: An environment with PyTorch for CUDA, and the wheels that it is made from, take about ten; others seldom more than one.
_ROOM_WITH_CUDA = 15_000_000_000
_ROOM = 2_000_000_000

_CUDA_DEVICE = re.compile(r"cuda(:\d+)?")


def python_version(case: Case) -> Iterator[Diagnosis]:
    """A Python that is not there."""
    host, wanted = case.host, case.environment.python_version
    installed = ", ".join(host.installed_pythons) or "none"
    if host.python is None and not host.can_fetch_python:
        yield Diagnosis(
            severity=Severity.ERROR,
            problem=f"{_named(wanted)} is not installed and cannot be fetched (installed: {installed})",
            remedy="install it, or set 'build.python_version' to one that is there",
        )
    elif host.python is None:
        yield Diagnosis(
            severity=Severity.NOTE,
            problem=f"{_named(wanted)} is not installed (installed: {installed})",
            remedy="nothing need be done: it is fetched when the environment is made",
        )
    elif wanted is not None and wanted.count(".") > 1 and host.python != wanted:
        yield Diagnosis(
            severity=Severity.NOTE,
            problem=f"Python {wanted} is not installed; {host.python} is used instead",
            remedy="nothing need be done, unless the project depends on that very release",
        )


def system_packages(case: Case) -> Iterator[Diagnosis]:
    """System packages that are not installed."""
    if case.host.system_packages is not None:
        yield Diagnosis.of(case.host.system_packages)


def gpu(case: Case) -> Iterator[Diagnosis]:
    """A GPU that is wanted and not there, or there and not asked for."""
    if not case.environment.gpu:
        yield from _unasked(case)
    elif case.host.system == "Darwin":
        yield _warning("the project asks for CUDA, which a Mac has not", "use device 'mps' in the code where there is no CUDA")
    elif case.host.gpus.driver is None and case.host.gpus.count:
        yield _warning("there is a GPU, but no NVIDIA driver", "install the driver; 'nvidia-smi' then shows the GPU")
    elif not case.host.gpus.count:
        yield _warning(
            "the project asks for a GPU, and there is none",
            "run it on a machine with one, or see to it that the code falls back to the CPU",
        )
    else:
        yield from _old_driver(case)


def cache(case: Case) -> Iterator[Diagnosis]:
    """No place for the environment."""
    host = case.host
    needed = _ROOM_WITH_CUDA if case.environment.gpu and host.torch_builds != "cpu" else _ROOM
    if host.cache_problem is not None:
        yield Diagnosis(
            severity=Severity.ERROR,
            problem=f"environments cannot be kept in '{host.cache_directory}': {host.cache_problem}",
            remedy="set DRIVETRAIN_CACHE_DIR to a directory that can be written to",
        )
    elif not host.environment_is_made and host.free_bytes < needed:
        yield _warning(
            f"the disk of '{host.cache_directory}' has {host.free_bytes / 1e9:.1f} GB left; "
            f"the environment may need {needed / 1e9:.0f} GB while it is made",
            "free some space, or set DRIVETRAIN_CACHE_DIR to a directory on another disk",
        )


def _named(version: str | None) -> str:
    return f"Python {version}" if version is not None else "a Python that suits"


def _warning(problem: str, remedy: str) -> Diagnosis:
    return Diagnosis(severity=Severity.WARNING, problem=problem, remedy=remedy)


def _old_driver(case: Case) -> Iterator[Diagnosis]:
    driver, builds = case.host.gpus.driver, case.host.torch_builds or ""
    match = re.fullmatch(r"cu(\d{2})\d+", builds)
    oldest = _OLDEST_DRIVER.get(int(match[1])) if match else None
    if driver and match and oldest is not None and driver[0] < oldest:
        yield _warning(
            f"the NVIDIA driver is {'.'.join(map(str, driver))}; programs for CUDA {match[1]} need {oldest} or later",
            f"install a later driver, or write a version before {match[1]} for 'build.cuda'",
        )


def _unasked(case: Case) -> Iterator[Diagnosis]:
    """Builds for the CPU alone are installed without ``gpu: true``, so code that insists on CUDA fails."""
    if case.host.torch_builds != "cpu" or any(b"is_available" in source.content for source in case.sources):
        return
    for source in case.sources:
        for line in _uses_of_cuda(source):
            yield Diagnosis(
                severity=Severity.WARNING,
                problem="the code wants CUDA, but without 'gpu: true' PyTorch is installed for the CPU alone",
                remedy="write 'gpu: true' under 'build'",
                file=source.name,
                line=line,
            )
            return


def _uses_of_cuda(source: PythonFile) -> Iterator[int]:
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call):
            continue
        values = [*node.args, *(keyword.value for keyword in node.keywords)]
        named = any(isinstance(value, ast.Constant) and _CUDA_DEVICE.fullmatch(str(value.value)) for value in values)
        if named or (isinstance(node.func, ast.Attribute) and node.func.attr == "cuda"):
            yield node.lineno
