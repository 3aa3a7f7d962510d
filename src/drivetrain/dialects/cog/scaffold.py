"""New Cog projects to begin with. Each runs as it is, with drivetrain and with Cog itself."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_HOME = Path(__file__).parent / "templates"
_PYTHON_VERSION = re.compile(r'(?<=python_version: )"[0-9.]+"')


@dataclass(frozen=True, kw_only=True)
class Template:
    """A kind of project to begin with.

    Attributes:
        name: What it is asked for by.
        summary: What its model does, in a few words.
        example: A command that shows it at work.
    """

    name: str
    summary: str
    example: str

    @property
    def files(self) -> Mapping[str, str]:
        """Text of each of its files, by name."""
        paths = sorted(path for path in (_HOME / self.name).iterdir() if path.is_file())
        return {path.name: path.read_text(encoding="utf-8") for path in paths}


@dataclass(frozen=True, kw_only=True)
class Written:
    """Which files were written, and which were there before and stayed as they are."""

    created: tuple[Path, ...]
    skipped: tuple[Path, ...]


_TEMPLATES = (
    Template(name="default", summary="text in, text out", example="drivetrain run -i text=World"),
    Template(
        name="image", summary="picture in, picture out", example="drivetrain run -i image=@photo.jpg -i blur=8 -o blurred.png"
    ),
    Template(name="stream", summary="text, piece by piece", example="drivetrain run -i words=18"),
    Template(
        name="train",
        summary="a training, and a model that uses its weights",
        example="drivetrain train -i text=@train.py -o weights.json && drivetrain run",
    ),
)


def templates() -> Mapping[str, Template]:
    """All templates by name, the default one first."""
    return {template.name: template for template in _TEMPLATES}


def write_template(template: Template, directory: Path) -> Written:
    """Write a template's files; those that exist already are never touched.

    The project asks for the version of Python that is running now: that one is at hand.

    Args:
        template: What to write.
        directory: Where to; made if it is not there.

    Raises:
        OSError: The directory cannot be written to.
    """
    version = f'"{sys.version_info.major}.{sys.version_info.minor}"'
    created, skipped = [], []
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in template.files.items():
        path = directory / name
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(_PYTHON_VERSION.sub(version, text))
        except FileExistsError:
            skipped.append(path)
        else:
            created.append(path)
    return Written(created=tuple(created), skipped=tuple(skipped))
