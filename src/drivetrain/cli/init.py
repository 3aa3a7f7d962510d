"""``drivetrain init``: write a new project that runs as it is."""

from __future__ import annotations

from pathlib import Path

import click

from drivetrain.cli.terminal import Terminal
from drivetrain.dialects.cog.scaffold import templates, write_template


@click.command(name="init", short_help="Write a new project that runs as it is.")
@click.option(
    "--template",
    "name",
    type=click.Choice(list(templates())),
    default="default",
    show_default=True,
    help=f"Kind of model to begin with. {' '.join(f'{name}: {template.summary}.' for name, template in templates().items())}",
)
@click.pass_obj
def command(terminal: Terminal, name: str) -> None:
    """Write a project into this directory, ready to run. Files that are already there are left alone.

    \b
        drivetrain init --template image
    """
    template = templates()[name]
    written = write_template(template, Path.cwd())
    for path in written.created:
        terminal.note(f"  created {path.name}")
    for path in written.skipped:
        terminal.note(f"  kept    {path.name} (it was already there)")
    terminal.note(f"\nTry it:\n  {template.example}")
