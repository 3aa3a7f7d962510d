"""Find the Python of a base image without running anything in it.

Official Python images say their version in a variable. Of others, the archives of the layers are listed, once for each base.
"""

from __future__ import annotations

import contextlib
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, cast

import msgspec

from drivetrain.images import layout
from drivetrain.images.descriptor import Descriptor
from drivetrain.images.image import Image
from drivetrain.images.store import ImageStore
from drivetrain.model.errors import OutsideFailed, ProjectError

#: The worker, which runs in the model's interpreter, needs this one or a later one.
OLDEST = (3, 8)
#: Our server, which lives beside the model, needs this one or a later one; where the model's is older, it has one of its own.
OLDEST_FOR_SERVER = (3, 10)
SERVER_VERSION = "3.12"

#: Where interpreters are looked for, the best first: where ``PATH`` leads in nearly every image.
_PLACES = ("usr/local/bin", "opt/conda/bin", "opt/venv/bin", "usr/bin", "bin")
_PROGRAM = re.compile(r"(?:\./)?((?:[\w.-]+/)*bin)/python(3\.[0-9]+)")
#: In the history of images that stand on Alpine, whose C library is musl.
_ALPINE = re.compile(r"alpine|\bapk\b")
_MUSL = re.compile(r"(?:\./)?(?:usr/)?lib/ld-musl-[\w.]+")


class BasePython(msgspec.Struct, frozen=True, kw_only=True):
    """An interpreter in an image.

    Attributes:
        path: The program.
        version: ``MAJOR.MINOR``.
        musl: Whether the image's C library is musl and not GNU's; wheels differ.
    """

    path: str
    version: str
    musl: bool = False

    @property
    def numbers(self) -> tuple[int, int]:
        """The version, to be compared."""
        major, minor = self.version.split(".")
        return int(major), int(minor)


def told_by(base: Image, name: str) -> BasePython | None:
    """The interpreter, if the image's variables say which it is; they do not say which C library it has."""
    version = base.variables.get("PYTHON_VERSION", "")
    if re.fullmatch(r"3\.[0-9]+(?:\.[0-9a-z]+)?", version) is None or _ALPINE.search(" ".join((name, *base.steps))):
        return None
    minor = ".".join(version.split(".")[:2])
    if "/usr/local/bin" not in base.variables.get("PATH", "").split(":"):
        return None
    return BasePython(path=f"/usr/local/bin/python{minor}", version=minor)


def list_pythons(store: ImageStore, layers: Iterable[Descriptor]) -> list[BasePython]:
    """All interpreters in the layers of an image, which are in the store.

    Raises:
        OutsideFailed: A layer cannot be read.
    """
    found: dict[str, str] = {}
    musl = False
    for layer in layers:
        for name in _names(store, layer):
            if match := _PROGRAM.fullmatch(name):
                found[f"/{match[1]}/python{match[2]}"] = match[2]
            musl = musl or _MUSL.fullmatch(name) is not None
    return [BasePython(path=path, version=version, musl=musl) for path, version in sorted(found.items())]


def choose_python(pythons: Iterable[BasePython], wanted: str | None, base: str) -> BasePython:
    """The best of those in a base; pure.

    Raises:
        ProjectError: None is of the wanted version; names those that are there.
    """
    there = sorted(pythons, key=lambda one: (_rank(one.path), tuple(-part for part in one.numbers)))
    fitting = [one for one in there if wanted is None or one.version == wanted]
    if fitting:
        return fitting[0]
    names = ", ".join(sorted({one.version for one in there}, key=lambda text: int(text.split(".")[1])))
    if not names:
        raise ProjectError(f"the base '{base}' has no Python", hint="name one that has it, such as python:3.12-slim")
    raise ProjectError(
        f"the base '{base}' has Python {names}, but the project asks for {wanted}",
        hint="change build.python_version, or the base",
    )


def brought_python(version: str) -> BasePython:
    """The interpreter that we bring."""
    return BasePython(path=f"{layout.PYTHON}/bin/python{version}", version=version)


def server_python(model: BasePython) -> BasePython:
    """The interpreter of the server: the model's, or one that we bring where that is too old."""
    return model if model.numbers >= OLDEST_FOR_SERVER else brought_python(SERVER_VERSION)


def server_version(model: str) -> str:
    """The ``MAJOR.MINOR`` of the server's interpreter, by the model's."""
    return server_python(brought_python(model)).version


def _rank(path: str) -> int:
    directory = layout.inner(path).rpartition("/")[0]
    return _PLACES.index(directory) if directory in _PLACES else len(_PLACES)


def _names(store: ImageStore, layer: Descriptor) -> Iterator[str]:
    try:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(store.path(layer.digest).open("rb"))
            content = stack.enter_context(contextlib.closing(_decompressed(file, layer)))
            for member in stack.enter_context(tarfile.open(fileobj=content, mode="r|")):
                yield member.name
    except (OSError, tarfile.TarError, EOFError, zlib.error) as error:
        raise OutsideFailed(f"a layer of the base cannot be read: '{layer.digest}': {error}") from error


def _decompressed(file: IO[bytes], layer: Descriptor) -> IO[bytes]:
    if layer.media_type.endswith("gzip"):
        import gzip

        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if layer.media_type.endswith("zstd"):
        import zstandard

        return cast("IO[bytes]", zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True))
    return file
