"""What the commands about images share: options, the store, how transfers are told of, names."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from drivetrain.cli.terminal import Terminal
from drivetrain.environments.environment import Progress
from drivetrain.images.descriptor import Descriptor, Platform, platform_of
from drivetrain.images.reference import DOCKER_HUB, Reference, parse_reference
from drivetrain.images.registry.client import RegistryOptions
from drivetrain.images.registry.credentials import CredentialStore
from drivetrain.images.store import ImageStore
from drivetrain.images.transfer import Transfers, Unwatched, Watcher
from drivetrain.model.errors import Misuse
from drivetrain.model.project import Project
from drivetrain.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])

insecure_option = click.option(
    "--insecure",
    is_flag=True,
    help="Take plain HTTP, and certificates that nobody vouches for, from registries on other machines too.",
)


def platform_option(text: str) -> Callable[[Command], Command]:
    """``--platform``, with what it is about."""
    return click.option("--platform", "platforms", metavar="PLATFORM", help=text)


def image_store(settings: Settings) -> ImageStore:
    """The images of this machine."""
    return ImageStore(settings.cache_directory.absolute() / "images")


def transfers(settings: Settings, *, insecure: bool = False, watcher: Watcher | None = None) -> Transfers:
    """What moves images."""
    environ = settings.environ
    default = RegistryOptions()
    options = RegistryOptions(
        insecure=insecure,
        connections=max(1, _number(environ.get("COG_PUSH_CONCURRENCY"), default.connections)),
        chunk_bytes=max(1, _number(environ.get("COG_PUSH_DEFAULT_CHUNK_SIZE"), default.chunk_bytes)),
        monolithic_bytes=_number(environ.get("COG_PUSH_MULTIPART_THRESHOLD"), default.monolithic_bytes),
        environ=environ,
    )
    return Transfers(
        store=image_store(settings), credentials=CredentialStore(environ), options=options, watcher=watcher or Unwatched()
    )


class TransferProgress:
    """Tells of a transfer as one line that changes: how much of it has been moved."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._total = 0
        self._moved = 0

    def begins(self, descriptor: Descriptor, what: str) -> None:
        """A piece begins to be moved."""
        with self._lock:
            self._total += descriptor.size

    def moved(self, descriptor: Descriptor, size: int) -> None:
        """Bytes of it have been moved."""
        with self._lock:
            self._moved += size
            self._progress.detail(f"{readable(self._moved)} of {readable(max(self._total, self._moved))}")

    def ended(self, descriptor: Descriptor, how: str) -> None:
        """It is there."""
        if how == "there":
            with self._lock:
                self._total = max(0, self._total - descriptor.size)


def host_platform() -> Platform:
    """What images run on here without emulation."""
    return platform_of(os.uname().machine)


def parse_platforms(text: str | None) -> list[Platform]:
    """The platforms of a list with commas; this machine's where there is none.

    Raises:
        Misuse: One is none that images are built for.
    """
    if text is None:
        return [host_platform()]
    return list(dict.fromkeys(platform_of(part) for part in text.split(",")))


def image_name(project: Project, tag: str | None) -> Reference:
    """The name of a project's image: what the user says, else what the config says, else one made of the directory's.

    Raises:
        Misuse: It is no name.
    """
    if tag is not None:
        return parse_reference(tag)
    if named := project.image or project.model:
        return parse_reference(named)
    letters = "".join(letter for letter in project.root.name.lower() if letter.isascii() and letter.isalnum())
    return parse_reference(f"cog-{letters or 'model'}"[:30])


def shown(reference: Reference) -> str:
    """A name as people write it: without what Docker fills in."""
    text = str(reference)
    return text.removeprefix(f"{DOCKER_HUB}/library/") if reference.registry == DOCKER_HUB else text


def pushable(reference: Reference) -> Reference:
    """The name, if it says where to push to.

    Raises:
        Misuse: It has no registry; nobody pushes to ``docker.io/library``.
    """
    if reference.registry == DOCKER_HUB and reference.repository.startswith("library/"):
        raise Misuse(
            f"'{shown(reference)}' does not say which registry to push to",
            hint="write it like registry.example.com/owner/name, on the command line or as 'image' in the config",
        )
    return reference


def readable(size: float) -> str:
    """A size for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def tell_moved(terminal: Terminal, what: str, reference: Reference, pieces: int, size: int, there: int) -> None:
    """Sum a transfer up in a line."""
    layers = f"{pieces} piece{'s' if pieces != 1 else ''}"
    terminal.note(f"{what} {shown(reference)}: {layers}, {readable(size)}; {there} {'was' if there == 1 else 'were'} there already")


def certificates(text: str | None) -> str | None:
    """What ``COG_CA_CERT`` names, with those that everybody trusts: a file, a directory, or certificates themselves.

    Raises:
        Misuse: There are none in it.
    """
    if not text:
        return None
    import base64
    import binascii

    import certifi

    own = text if "BEGIN CERTIFICATE" in text else ""
    path = Path(text) if not own and len(text) < 4096 else None
    if path is not None and path.is_file():
        own = path.read_text(encoding="utf-8")
    elif path is not None and path.is_dir():
        own = "".join(
            file.read_text(encoding="utf-8") for file in sorted(path.iterdir()) if file.suffix in (".crt", ".pem", ".cer")
        )
    if not own:
        try:
            own = base64.b64decode(text, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            own = ""
    if "BEGIN CERTIFICATE" not in own:
        raise Misuse("COG_CA_CERT names neither a file nor a directory with certificates, nor is it one", hint="unset COG_CA_CERT")
    return f"{Path(certifi.where()).read_text(encoding='utf-8')}\n{own.strip()}\n"


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isdecimal() else default
