"""Finds a Cog project from where somebody stands, and loads it."""

from __future__ import annotations

from os.path import relpath
from pathlib import Path

from drivetrain.dialects.cog.findings import Findings
from drivetrain.dialects.cog.kept_reading import KeptReadings, LoadedProject
from drivetrain.dialects.cog.text_file import exists, read_text, watched
from drivetrain.model.errors import ProjectError
from drivetrain.model.finding import Finding, Severity

CONFIG_NAME = "cog.yaml"
#: How many parents are looked at, as in Cog.
MOST_PARENTS = 100
#: A config larger than this is none; the largest in the wild have some kilobytes.
LARGEST_CONFIG = 256 * 1024

_MISSPELT = ("cog.yml", "Cog.yaml", "cog.yaml.txt")
_PREDICTORS = ("predict.py", "run.py", "predictor.py")


def find_config(start: Path, name: str | None) -> Path:
    """The config file of the project that ``start`` lies in; its directory is the project's root.

    Args:
        start: Directory to begin in; its parents are looked at next.
        name: The file to look for in place of ``cog.yaml``; may be a path.

    Raises:
        ProjectError: There is none.
    """
    start = start.absolute()
    for directory in (start, *start.parents[:MOST_PARENTS]):
        candidate = directory / (name or CONFIG_NAME)
        if exists(candidate):
            return candidate
    raise ProjectError(f"no '{name or CONFIG_NAME}' in '{start}' or any directory above it", hint=_hint(start, name))


def load_project(start: Path, name: str | None, kept: KeptReadings | None = None) -> LoadedProject:
    """Find, read and check the project that ``start`` lies in.

    Args:
        start: Directory to begin in.
        name: As for ``find_config``.
        kept: Readings of earlier starts, to be used as far as nothing has changed.

    Raises:
        ProjectError: There is none, or its config has errors; ``findings`` then holds all of them, and the warnings.
    """
    file = find_config(start, name)
    shown = _shown(file, start)
    if kept is None:
        return _read(file, shown)
    if (loaded := kept.find(file, shown)) is not None:
        return loaded
    with watched() as sights:
        loaded = _read(file, shown)
    kept.keep(file, shown, sights, loaded)
    return loaded


def _read(file: Path, shown: str) -> LoadedProject:
    from drivetrain.dialects.cog.config import read_config

    findings = Findings(shown)
    text = read_text(file, findings, largest=LARGEST_CONFIG)
    if text is None:
        raise _invalid(findings.file, findings.in_order())
    reading = read_config(text, file=file, root=file.parent, shown_as=findings.file)
    if reading.project is None:
        raise _invalid(findings.file, reading.findings)
    return LoadedProject(project=reading.project, warnings=reading.findings)


def _hint(start: Path, name: str | None) -> str:
    if name is not None:
        return f"-f takes the name of a file in '{start}' or above it"
    for misspelt in _MISSPELT:
        if exists(start / misspelt):
            return f"there is a '{misspelt}' here: rename it to '{CONFIG_NAME}', or pass -f {misspelt}"
    for predictor in _PREDICTORS:
        if exists(start / predictor):
            return f"there is a '{predictor}' here: 'drivetrain init' writes the '{CONFIG_NAME}' it needs"
    return "change to a project's directory, or start one here with 'drivetrain init'"


def _shown(file: Path, start: Path) -> str:
    relative = relpath(file, start)
    return str(file) if relative.startswith("../../..") else relative


def _invalid(shown: str, findings: tuple[Finding, ...]) -> ProjectError:
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    return ProjectError(f"'{shown}' has {errors} error{'s' if errors != 1 else ''}", findings=findings)
