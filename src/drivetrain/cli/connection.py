"""Which platform the commands talk to, and with which key: typed, from the environment, or noted when one was started here."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from drivetrain.model.errors import Misuse
from drivetrain.settings import Settings, read_settings

Command = TypeVar("Command", bound=Callable[..., Any])

#: Where ``drivetrain up`` listens unless it is told otherwise.
DEFAULT_PORT = 8700


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A platform, and a key for it."""

    url: str
    key: str | None


@dataclass(frozen=True, kw_only=True)
class KnownPlatform:
    """A platform that was started by this user on this machine.

    Attributes:
        state: Its state directory.
        key: The administrator's key that was made when it was started first; empty if this user does not know it.
    """

    state: str
    url: str
    key: str


def find_connection(settings: Settings, url: str | None) -> Connection:
    """The platform to talk to.

    Args:
        url: From ``--platform``.

    Raises:
        Misuse: Nothing says which.
    """
    known = read_known(settings.connections_file)
    wanted = url or settings.platform_url
    if wanted is not None:
        wanted = _checked(wanted)
        noted = next((each.key for each in known if each.url == wanted), None)
        return Connection(url=wanted, key=settings.api_key or noted or None)
    if not known:
        raise Misuse(
            "no platform is known here",
            hint="'drivetrain up' starts one; --platform URL, or DRIVETRAIN_PLATFORM, says where another one is",
        )
    return Connection(url=known[0].url, key=settings.api_key or known[0].key or None)


def this_connection(url: str | None) -> Connection:
    """``find_connection`` for this process."""
    return find_connection(read_settings(os.environ), url)


def read_known(file: Path) -> list[KnownPlatform]:
    """The platforms noted in a file, the one started last first; none if there is no such file."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return [KnownPlatform(state=each["state"], url=each["url"], key=each["key"]) for each in found["platforms"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Misuse(f"'{file}' cannot be used: {error}", hint="delete it; 'drivetrain up' writes it anew") from error


def note(file: Path, platform: KnownPlatform) -> None:
    """Put a platform at the head of those that are known. Only this user can read the file."""
    others = [each for each in read_known(file) if each.state != platform.state]
    content: Mapping[str, Any] = {"platforms": [asdict(each) for each in (platform, *others)]}
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".platform-")  # of mode 0600
    with open(handle, "w", encoding="utf-8") as written:  # noqa: PTH123 (a descriptor)
        json.dump(content, written, indent=2)
        written.write("\n")
    Path(name).replace(file)


def platform_options(command: Command) -> Command:
    """``--platform`` and ``--json``: for every command that asks a platform."""
    command = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")(command)
    return click.option(
        "--platform", "platform_url", metavar="URL", help="The platform to ask. [default: the one started last by this user here]"
    )(command)


def list_by_default(ctx: click.Context, listing: click.Command, *, platform_url: str | None, as_json: bool) -> None:
    """Let a group list where no subcommand is named, and let its options count for the one that is."""
    given = {"platform_url": platform_url, "as_json": as_json or None}
    options = {name: value for name, value in given.items() if value is not None}
    if ctx.invoked_subcommand is None:
        ctx.exit(ctx.invoke(listing, **options))
    ctx.default_map = {ctx.invoked_subcommand: options}


def _checked(url: str) -> str:
    if not url.startswith(("http://", "https://")) or len(url.split("/")) < 3 or not url.split("/")[2]:
        raise Misuse(f"'{url}' is not the URL of a platform", hint="they look like http://127.0.0.1:8700")
    return url.rstrip("/")
