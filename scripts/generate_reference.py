"""Write the pages of docs/reference that are made from the code: what the commands say of themselves, and the settings.

A test compares the pages with what this script would write, so that `make docs` cannot be forgotten.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from drivetrain.cli.command_line import ALIASES, COMMANDS, cli
from drivetrain.cli.options import CONTAINER_OPTIONS
from drivetrain.settings import Settings

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"
#: As wide as the help ever gets, on a wide terminal.
WIDTH = 98

NOTICE = "<!-- Written by scripts/generate_reference.py; change the code's own texts, then run `make docs`. -->"

COMMAND_LINE = """\
# Command line

{notice}

Results go to stdout; logs, progress and messages go to stderr. A command ends with one of these
[exit statuses](errors.md#exit-statuses): 0 done, 1 failed, 2 misuse, 130 interrupted. Colours are off where stderr is no terminal,
with `--no-color`, and where `NO_COLOR` is set.

## `drivetrain`

```
{top}
```

{commands}
## Options of Cog's command line

Scripts that were written for Cog pass options that only a container gives a meaning to. Every command above that opens a project
takes them, says in a line why they do nothing, and goes on.

| option | why it does nothing |
|---|---|
{container_options}

Other names: {aliases}.
"""

SETTINGS = """\
# Settings

{notice}

Everything else is an option of a [command](command-line.md) or a key of [cog.yaml](cog-yaml.md).

| variable | what it decides | when it is not set |
|---|---|---|
{variables}

{rest}
"""

#: Marks where the part of the settings page begins that is written by hand.
BY_HAND = "<!-- From here on written by hand. -->"


def command_line_page() -> str:
    """The whole of command-line.md."""
    rows = (f"| `{name}` | {reason} |" for name, _, reason in CONTAINER_OPTIONS)
    return COMMAND_LINE.format(
        notice=NOTICE,
        top=_help(_context(cli, "drivetrain")),
        commands="\n".join(_command_sections()),
        container_options="\n".join(rows),
        aliases=", ".join(f"`drivetrain {alias}` is `drivetrain {name}`" for alias, name in ALIASES.items()),
    )


def settings_page(before: str) -> str:
    """The whole of settings.md.

    Args:
        before: The page as it is; its part written by hand is kept.
    """
    _, mark, by_hand = before.partition(BY_HAND)
    rows = (f"| `{name}` | {meaning} | {default} |" for name, meaning, default in documented_settings())
    return SETTINGS.format(notice=NOTICE, variables="\n".join(rows), rest=(mark or BY_HAND) + by_hand.rstrip())


def documented_settings() -> Iterator[tuple[str, str, str]]:
    """Variable, meaning and default of each setting, from the docstring of ``Settings``."""
    attributes = (inspect.getdoc(Settings) or "").partition("Attributes:")[2]
    for entry in re.split(r"\n {4}(?=\w+: )", attributes):
        text = " ".join(entry.partition(": ")[2].split())
        meaning, _, sources = text.partition(" ``")
        name, *fallbacks = re.split(r", else ", f"``{sources}".rstrip("."))
        if sources:
            default = ", else ".join(fallbacks).replace("``", "`") or "the one that drivetrain brings"
            yield name.strip("`"), meaning, default


def _command_sections() -> Iterator[str]:
    parent = _context(cli, "drivetrain")
    for name in COMMANDS:
        command = cli.get_command(parent, name)
        assert command is not None
        context = _context(command, name, parent)
        yield f"## `drivetrain {name}`\n\n```\n{_help(context)}\n```\n"
        for inner in command.list_commands(context) if isinstance(command, click.Group) else ():
            subcommand = command.get_command(context, inner)
            assert subcommand is not None
            yield f"### `drivetrain {name} {inner}`\n\n```\n{_help(_context(subcommand, inner, context))}\n```\n"


def _context(command: click.Command, name: str, parent: click.Context | None = None) -> click.Context:
    settings = {**command.context_settings, "max_content_width": WIDTH, "terminal_width": WIDTH}
    return click.Context(command, info_name=name, parent=parent, **settings)


def _help(context: click.Context) -> str:
    return "\n".join(line.rstrip() for line in context.get_help().splitlines())


def main() -> int:
    """Write the pages."""
    settings = REFERENCE / "settings.md"
    (REFERENCE / "command-line.md").write_text(command_line_page(), encoding="utf-8")
    settings.write_text(settings_page(settings.read_text(encoding="utf-8") if settings.exists() else ""), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
