"""``drivetrain debug``: how a project is understood, for whoever wonders why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec.structs import asdict

from drivetrain import __version__
from drivetrain.cli.opening import Opening, open_project
from drivetrain.cli.options import container_options, project_options
from drivetrain.cli.terminal import Terminal
from drivetrain.model.project import Mode

if TYPE_CHECKING:
    from drivetrain.images.plan import Plan


@click.command(name="debug", short_help="Show how the project is understood.")
@click.option("--image-name", hidden=True, metavar="NAME")
@project_options
@container_options
@click.option("--dockerfile", "shows_dockerfile", is_flag=True, help="Print the Dockerfile that a container engine builds.")
@click.pass_obj
def command(
    terminal: Terminal,
    image_name: str | None,
    shows_dockerfile: bool,
    config_name: str | None,
    variables: tuple[str, ...],
    realisation: str,
) -> None:
    """Show how the project in this directory is understood, as a JSON object.

    That is the project as its config was read, its environment, and the signatures and the API as they stand in the code.
    Nothing is installed and nothing of the project is run. Values of environment variables are left out.
    With --dockerfile, the Dockerfile that an engine builds is printed instead, values and all.

    \b
        drivetrain debug
        drivetrain debug --dockerfile
    """
    if image_name:
        terminal.note("--image-name has no meaning here: no image is built")
    opening = open_project(terminal, config_name=config_name, realisation=realisation, variables=variables)
    if shows_dockerfile:
        click.echo(_dockerfile(opening), nl=False)
        return
    from drivetrain.cli.outputs import write_json

    write_json(describe(opening), indent=True)


def describe(opening: Opening) -> dict[str, Any]:
    """What is known of a project without running anything of it."""
    signatures = {mode.value: _signature(opening, mode) for mode in Mode if opening.project.entry_point(mode) is not None}
    return {
        "drivetrain": __version__,
        "project": _project(opening),
        "environment": _environment(opening),
        "signatures": signatures,
        "image": _image(opening),
    }


def _image(opening: Opening) -> dict[str, Any]:
    """How an image would be made of it."""
    from drivetrain.model.errors import ProjectError

    try:
        plan = _plan(opening)
    except ProjectError as error:
        return {"problem": error.message, "hint": error.hint}
    return {"platform": str(plan.platform), "way": plan.way.value, "reason": plan.reason, "base": plan.base}


def _plan(opening: Opening) -> Plan:
    from drivetrain.cli.image_options import host_platform
    from drivetrain.images.plan import Wishes, make_plan

    return make_plan(opening.project, host_platform(), Wishes())


def _dockerfile(opening: Opening) -> str:
    from drivetrain.images.dockerfile import Rendering, render_dockerfile
    from drivetrain.images.plan import DEFAULT_PYTHON

    plan = _plan(opening)
    return render_dockerfile(plan, Rendering(python=plan.python or DEFAULT_PYTHON))


def _project(opening: Opening) -> dict[str, Any]:
    fields: dict[str, Any] = _plain(opening.project)
    fields["environment"]["variables"] = sorted(opening.project.environment.variables)  # some are secrets
    fields["variables"] = sorted(opening.variables)
    return fields


def _environment(opening: Opening) -> dict[str, Any]:
    if opening.realisation == "host":
        from drivetrain.environments.host import host_environment

        return {"realisation": "host", "python": str(host_environment(opening.settings).python)}
    from drivetrain.environments.store import EnvironmentPlace

    place = EnvironmentPlace(opening.project.environment, opening.settings)
    ready = place.read()
    return {
        "realisation": "venv",
        "directory": str(place.directory),
        "is_ready": ready is not None,
        "python": str(ready.python) if ready is not None else None,
        "python_version": ready.python_version if ready is not None else None,
    }


def _signature(opening: Opening, mode: Mode) -> dict[str, Any]:
    from drivetrain.dialects.cog.openapi import openapi_document
    from drivetrain.dialects.cog.static_reading import read_entry_point

    reference = opening.entry_point(mode)
    reading = read_entry_point(opening.project, reference, mode)
    both = (reading.signature, None) if mode is Mode.PREDICT else (None, reading.signature)
    return {
        "entry_point": str(reference),
        "signature": reading.signature.to_wire(),
        "is_complete": reading.complete,
        "notes": list(reading.notes),
        "openapi": openapi_document(*both, version=__version__),
    }


def _plain(value: Any) -> Any:
    """A JSON value of what a project is made of."""
    if isinstance(value, msgspec.Struct):
        value = asdict(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
