"""``drivetrain doctor``: look a project over without running it."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from drivetrain.cli.terminal import Terminal
from drivetrain.model.finding import Severity

if TYPE_CHECKING:
    from drivetrain.dialects.cog.doctor.diagnosis import Diagnosis, Verdict
    from drivetrain.dialects.cog.doctor.mending import Change


@click.command(name="doctor", short_help="Look a project over, and mend what can be mended.")
@click.option("--fix", "mends", is_flag=True, help="Mend what can be mended safely, and show what was changed.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as a JSON object.")
@click.option(
    "-f",
    "--file",
    "config_name",
    metavar="FILE",
    help="Name of the config file, here or in a directory above. [default: cog.yaml]",
)
@click.pass_obj
def command(terminal: Terminal, mends: bool, as_json: bool, config_name: str | None) -> int:
    """Look over the project in this directory: its config, its code, and whether this machine has what it asks for.

    Nothing of the project is run, and without --fix nothing is changed. Errors keep the project from running, and
    end the command with status 1. Warnings may surprise, here or in Cog. Docker is not needed, so not looked for.

    \b
        drivetrain doctor
        drivetrain doctor --fix
    """
    from drivetrain.dialects.cog.discovery import find_config
    from drivetrain.dialects.cog.doctor.mending import mend

    config = find_config(Path.cwd(), config_name)
    verdicts = _examine(config)
    changes: list[Change] = []
    while mends and (made := mend(edit for diagnosis in _diagnoses(verdicts) for edit in diagnosis.edits)):
        changes += made
        verdicts = _examine(config)  # one change may bring to light what is next
    if as_json:
        _write_json(config, verdicts, changes)
    else:
        # The report is this command's result; what is coloured on a terminal must not be in a file.
        _Report(replace(terminal, stream=sys.stdout, has_color=terminal.has_color and sys.stdout.isatty())).write(verdicts, changes)
    return 1 if any(diagnosis.severity is Severity.ERROR for diagnosis in _diagnoses(verdicts)) else 0


def _examine(config_path: Path) -> tuple[Verdict, ...]:
    from drivetrain.cli.host_facts import look_at_host
    from drivetrain.dialects.cog.doctor.reading import read_case, read_config_file
    from drivetrain.dialects.cog.doctor.registry import examine
    from drivetrain.settings import read_settings

    config = read_config_file(config_path)
    project = config.reading.project
    if project is None:
        return examine(config, None)
    return examine(config, read_case(project, config, look_at_host(project, read_settings(os.environ))))


def _diagnoses(verdicts: Iterable[Verdict]) -> list[Diagnosis]:
    return [diagnosis for verdict in verdicts for diagnosis in verdict.diagnoses]


def _status(verdict: Verdict) -> str:
    if not verdict.was_made:
        return "skipped"
    return verdict.severity.value if verdict.severity is not None else "ok"


def _place(diagnosis: Diagnosis) -> str:
    if diagnosis.file is None:
        return ""
    return f"{diagnosis.file}: " if diagnosis.line is None else f"{diagnosis.file}:{diagnosis.line}: "


class _Report:
    """What people read."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def write(self, verdicts: Sequence[Verdict], changes: Sequence[Change]) -> None:
        for change in changes:
            self._write_change(change)
        for verdict in verdicts:
            about = "" if verdict.diagnoses else f": {verdict.about}"
            self._terminal.verdict(_status(verdict), f"{verdict.name}{about}")
            for diagnosis in verdict.diagnoses:
                self._write_diagnosis(diagnosis)
        self._terminal.note("")
        self._terminal.note(_summary(verdicts, changes))

    def _write_change(self, change: Change) -> None:
        self._terminal.note(f"Changed {os.path.relpath(change.path)}")
        for line in change.lines:
            self._terminal.quiet(f"  {line}")
        self._terminal.note("")

    def _write_diagnosis(self, diagnosis: Diagnosis) -> None:
        self._terminal.note(f"  {_place(diagnosis)}{diagnosis.problem}")
        mendable = " (--fix does it)" if diagnosis.edits else ""
        self._terminal.note(f"    hint: {diagnosis.remedy}{mendable}")


def _summary(verdicts: Iterable[Verdict], changes: Sequence[Change]) -> str:
    diagnoses = _diagnoses(verdicts)
    counts = Counter(diagnosis.severity.value for diagnosis in diagnoses)
    found = [f"{count} {name}{'s' if count != 1 else ''}" for name in ("error", "warning", "note") if (count := counts[name])]
    mendable = sum(bool(diagnosis.edits) for diagnosis in diagnoses)
    parts = [", ".join(found) or "Nothing to complain of"]
    if changes:
        files = len({change.path for change in changes})
        parts.append(f"{files} file{'s' if files != 1 else ''} changed")
    if mendable:
        parts.append(f"--fix mends {mendable} of them")
    return "; ".join(parts)


def _write_json(config: Path, verdicts: Iterable[Verdict], changes: Iterable[Change]) -> None:
    import json

    report = {
        "config": str(config),
        "checks": [
            {
                "name": verdict.name,
                "status": _status(verdict),
                "findings": [_as_json(verdict, diagnosis) for diagnosis in verdict.diagnoses],
            }
            for verdict in verdicts
        ],
        "changed": [os.path.relpath(change.path) for change in changes],
    }
    click.echo(json.dumps(report, indent=2))


def _as_json(verdict: Verdict, diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "severity": diagnosis.severity.value,
        "code": diagnosis.code or verdict.name,
        "problem": diagnosis.problem,
        "remedy": diagnosis.remedy,
        "file": diagnosis.file,
        "line": diagnosis.line,
        "mendable": bool(diagnosis.edits),
    }
