"""``drivetrain rollback``: let another revision answer."""

from __future__ import annotations

from typing import Any

import click

from drivetrain.cli.connection import platform_options, this_connection
from drivetrain.cli.terminal import Terminal
from drivetrain.model.errors import Misuse


@click.command(name="rollback", short_help="Let an earlier revision of an app answer again.")
@click.argument("name", metavar="OWNER/APP")
@click.option("--to", "target", metavar="REVISION", help="Number or id of the revision. [default: the one before]")
@click.option(
    "--split",
    "shares",
    multiple=True,
    metavar="REVISION=PERCENT",
    help="Share the requests between revisions; give it once for each, 100 percent in all.",
)
@platform_options
@click.pass_obj
def command(
    terminal: Terminal, name: str, target: str | None, shares: tuple[str, ...], platform_url: str | None, as_json: bool
) -> int:
    """Let another revision of an app answer, at once: the one before, or any that is ready.

    \b
        drivetrain rollback me/hello
        drivetrain rollback me/hello --to 3
        drivetrain rollback me/hello --split 4=90 --split 5=10
    """
    if target is not None and shares:
        raise Misuse("--to and --split exclude each other")
    connection = this_connection(platform_url)
    from drivetrain.cli.deploy import full_name
    from drivetrain.cli.outputs import write_json
    from drivetrain.cli.platform_client import PlatformClient

    with PlatformClient(connection) as client:
        app = f"/apps/{full_name(client, name)}"
        revisions = client.get(f"{app}/revisions")["results"] if target is not None or shares else []
        if shares:
            changed = client.put(f"{app}/split", {"shares": [_share(text, revisions) for text in shares]})
        else:
            wanted = _identified(target, revisions) if target is not None else None
            changed = client.post(f"{app}/rollback", {"revision": wanted})
    if as_json:
        write_json(changed, indent=True)
        return 0
    answering = ", ".join(f"revision {share['number']} answers {share['percent']} %" for share in changed["alias"])
    terminal.note(f"{changed['name']}: {answering}")
    return 0


def _share(text: str, revisions: list[dict[str, Any]]) -> dict[str, Any]:
    revision, equals, percent = text.partition("=")
    if not equals or not percent.rstrip("%").strip().isdigit():
        raise Misuse(f"--split takes REVISION=PERCENT, not '{text}'")
    return {"revision": _identified(revision, revisions), "percent": int(percent.rstrip("%"))}


def _identified(text: str, revisions: list[dict[str, Any]]) -> str:
    """The id of a revision that is given by its number, its id, or the beginning of its id."""
    found = [each["id"] for each in revisions if str(each["number"]) == text] or [
        each["id"] for each in revisions if len(text) >= 6 and each["id"].startswith(text)
    ]
    if len(found) != 1:
        known = ", ".join(str(each["number"]) for each in revisions) or "none"
        raise Misuse(f"there is no revision '{text}'", hint=f"there are: {known}")
    return str(found[0])
