"""What every command that touches a project begins with: find it, tell its warnings, make its environment."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from drivetrain.cli.terminal import Terminal
from drivetrain.dialects.cog.discovery import load_project
from drivetrain.dialects.cog.kept_reading import KeptReadings
from drivetrain.environments.environment import Environment
from drivetrain.model.errors import Misuse
from drivetrain.model.project import Mode, Project, Reference
from drivetrain.serving.launch import WorkerCommand, entry_point_of
from drivetrain.settings import Settings, read_settings


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """A project found, and how the user wants it run.

    Attributes:
        project: The project.
        settings: Read from the process environment.
        realisation: ``venv`` or ``host``.
        variables: From ``-e``.
    """

    project: Project
    settings: Settings
    realisation: str
    variables: dict[str, str]

    def environment(self, terminal: Terminal) -> Environment:
        """The project's environment, made now if it is not there yet; progress is told."""
        if self.realisation == "host":
            from drivetrain.environments.host import host_environment

            return host_environment(self.settings)
        from drivetrain.environments.venv import find_ready

        ready = find_ready(self.project.environment, self.settings)
        if ready is not None:
            return ready
        return self._make(terminal)

    def entry_point(self, mode: Mode) -> Reference:
        """What to run.

        Raises:
            ProjectError: The project names nothing for this mode.
        """
        return entry_point_of(self.project, mode)

    def command(self, environment: Environment, mode: Mode) -> WorkerCommand:
        """How to start a worker of this project."""
        return WorkerCommand(
            project=self.project,
            environment=environment,
            environ=self.settings.environ,
            mode=mode,
            variables=self.variables,
        )

    def _make(self, terminal: Terminal) -> Environment:
        from drivetrain.cli.progress import progress_on
        from drivetrain.environments.system_packages import missing_packages_finding
        from drivetrain.environments.venv import prepare

        if (finding := missing_packages_finding(self.project.environment)) is not None:
            terminal.finding(finding)
        if self.project.environment.commands:
            terminal.warn("what 'build.run' does belongs to an image build and is not done here; see 'drivetrain doctor'")
        with progress_on(terminal) as progress:
            return prepare(self.project.environment, self.settings, progress=progress)


def open_project(terminal: Terminal, *, config_name: str | None, realisation: str, variables: tuple[str, ...]) -> Opening:
    """Find and read the project that the working directory is in.

    Raises:
        ProjectError: There is none, or its config has errors; all of them.
        Misuse: A variable is not ``NAME=VALUE``.
    """
    settings = read_settings(os.environ)
    loaded = load_project(Path.cwd(), config_name, KeptReadings(settings.cache_directory / "configs"))
    for warning in loaded.warnings:
        terminal.finding(warning)
    return Opening(
        project=loaded.project,
        settings=settings,
        realisation=realisation,
        variables=parse_variables(variables),
    )


def parse_variables(texts: tuple[str, ...]) -> dict[str, str]:
    """Turn ``NAME=VALUE`` texts into a mapping.

    Raises:
        Misuse: One has no ``=`` or no name.
    """
    variables = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise Misuse(f"-e takes NAME=VALUE, not '{text}'")
        variables[name] = value
    return variables
