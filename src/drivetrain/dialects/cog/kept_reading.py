"""What config files were read as, kept from one start to the next: reading YAML takes longer than starting an interpreter.

A reading is a function of what was looked at: the config's content, that of every requirements file it leads to, and whether the
paths they name are there. All of that is kept with it, word for word, and looked at again before it is used; so is what made it.
What has changed in any way is read anew. Only readings without errors are kept.
"""

from __future__ import annotations

import binascii
import contextlib
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from drivetrain import __version__
from drivetrain.dialects.cog.text_file import Sights, exists
from drivetrain.model.finding import Finding
from drivetrain.model.project import Project

#: Readings that were made so long ago are removed.
_KEPT_SECONDS = 60 * 24 * 3600


class LoadedProject(msgspec.Struct, frozen=True, kw_only=True):
    """A project without errors, and what its author should be told all the same."""

    project: Project
    warnings: tuple[Finding, ...]


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    maker: str
    shown_as: str
    sights: Sights
    loaded: LoadedProject


class KeptReadings:
    """Readings in a directory, a file for each config. What cannot be kept is read again at the next start.

    Args:
        directory: Where they are.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find(self, config: Path, shown_as: str) -> LoadedProject | None:
        """What a config would be read as now, if that is known; ``shown_as`` is its name in what is found in it."""
        try:
            kept = msgspec.msgpack.decode(self._file(config).read_bytes(), type=_Kept, dec_hook=_from_text)
        except (OSError, ValueError, msgspec.MsgspecError):
            return None
        is_of_config = kept.loaded.project.config_file == config and kept.shown_as == shown_as
        return kept.loaded if is_of_config and kept.maker == _maker() and _are_as_seen(kept.sights) else None

    def keep(self, config: Path, shown_as: str, sights: Sights, loaded: LoadedProject) -> None:
        """Keep what a config has been read as, and what was looked at."""
        file = self._file(config)
        begun = file.with_name(f"{file.name}.{os.getpid()}")
        with contextlib.suppress(OSError, ValueError):
            kept = _Kept(maker=_maker(), shown_as=shown_as, sights=sights, loaded=loaded)
            content = msgspec.msgpack.encode(kept, enc_hook=str)
            self._directory.mkdir(parents=True, exist_ok=True)
            _sweep(self._directory)
            # Readable for its owner alone: requirements and variables may have secrets in them.
            with open(begun, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as output:
                output.write(content)
            begun.replace(file)

    def _file(self, config: Path) -> Path:
        return self._directory / f"{binascii.crc32(os.fsencode(config)):08x}"


def _are_as_seen(sights: Sights) -> bool:
    return all(exists(Path(path)) is was_there for path, was_there in sights.places) and all(
        _content(path, len(content) + 1) == content for path, content in sights.contents
    )


def _content(path: str, size: int) -> bytes | None:
    try:
        with Path(path).open("rb") as file:
            return file.read(size)
    except OSError:
        return None


def _maker() -> str:
    """Changes with everything that decides what a config is read as, while drivetrain is worked on too."""
    here = Path(__file__).parent
    return f"{__version__} {sys.version} {sorted(_stamps((here, here.parent.parent / 'model')))}"


def _stamps(directories: Iterable[Path]) -> Iterable[tuple[str, int, int]]:
    for directory in directories:
        for entry in os.scandir(directory):
            if entry.name.endswith(".py"):
                yield entry.name, entry.stat().st_size, entry.stat().st_mtime_ns


def _from_text(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(value)
    raise TypeError(kind)


def _sweep(directory: Path) -> None:
    oldest = time.time() - _KEPT_SECONDS
    for file in directory.iterdir():
        if file.stat().st_mtime < oldest:
            file.unlink(missing_ok=True)
