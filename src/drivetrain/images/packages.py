"""Bring Python packages for an image here, without running anything in it: resolved and unpacked by uv for the image's platform.

What uv leaves in its directory is turned into entries of a virtual environment: programs get the environment's interpreter, and
whatever names this machine is left out, so that the same packages give the same layer wherever it is made.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import io
import os
import re
import shutil
import signal
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from drivetrain.environments.environment import Progress
from drivetrain.environments.installed import installed_interpreters
from drivetrain.environments.requirements import flags_for_uv, lines_for_uv, split_paths
from drivetrain.environments.uv import run_uv
from drivetrain.environments.uv_failure import UvFailure
from drivetrain.images import layout
from drivetrain.images.archive import Entry, entry_of, file
from drivetrain.images.package import Package
from drivetrain.images.target import Target
from drivetrain.model.errors import ProjectError
from drivetrain.settings import Settings

if TYPE_CHECKING:
    import subprocess

#: Directories that wheels put beside the packages, and a virtual environment one up.
_BESIDE = frozenset({"bin", "share", "etc", "include", "man"})

#: Names this machine or this moment.
_LOCAL_NOTES = frozenset({"uv_cache.json", "uv_build.json", "direct_url.json"})

#: What a file name cannot be without being Python's own.
_COMPILED = "__pycache__"

#: What is not compiled: tests of packages, what installs packages, and of drivetrain what only a platform needs. Python still runs
#: it. ``_distutils_hack``, which setuptools brings, is imported at each start.
_SELDOM_IMPORTED = (
    r"/tests?/|^\./(?:pip|setuptools|wheel)/|^\./drivetrain/(?:dashboard|fleets|gateways|images|platform|stores|bootstrap\.py)"
)

#: A path, an address, or a variable that holds one of them.
_SURELY_PATH = re.compile(r"[./$]|\w+:")

#: Ends the shell's part of a program whose interpreter's path is too long for a first line.
_AFTER_LONG_PATH = b"' '''\n"


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """A package and the entries that it consists of.

    Attributes:
        package: Name and version.
        entries: In the image.
        record: Digests of all its files: what changes exactly when they do.
    """

    package: Package
    entries: tuple[Entry, ...]
    record: bytes


class Staging:
    """A directory that packages are brought to, on their way into layers.

    Args:
        directory: Does not exist yet.
        target: What the packages are for.
        settings: Where uv is.
        progress: Told what uv does.
    """

    def __init__(self, directory: Path, target: Target, settings: Settings, progress: Progress) -> None:
        self.directory = directory
        self._target = target
        self._settings = settings
        self._progress = progress

    def install(
        self,
        requirements: Sequence[str],
        *,
        root: Path,
        flags: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        copies: bool = False,
    ) -> UvFailure | None:
        """Bring packages here; ``None`` when it succeeded.

        Args:
            requirements: Lines as the project has them.
            root: What paths in them are relative to.
            flags: For uv.
            variables: For uv.
            copies: Whether files are to be changed afterwards, so that they must not be links to uv's cache.
        """
        lines, paths = split_paths(lines_for_image(requirements))
        return run_uv(
            [
                *("pip", "install", "--target", str(self.directory)),
                *("--python-version", self._target.python, "--python-platform", self._target.uv_platform),
                *("--python", str(self._builder())),
                *("--index-strategy", "unsafe-best-match"),  # as pip does, for which the lines were written
                *(("--link-mode", "copy") if copies else ()),
                *flags_for_uv(requirements),
                *flags,
                *("--requirements", "-"),
                *paths,
            ],
            self._settings,
            self._progress,
            directory=root,
            variables=variables,
            lines=lines,
        )

    def _builder(self) -> Path:
        """The interpreter for packages that have to be built: of the image's version if there is one here."""
        for interpreter in installed_interpreters(self._settings):
            if ".".join(map(str, interpreter.version[:2])) == self._target.python:
                return interpreter.path
        return Path(sys.executable)

    @contextlib.contextmanager
    def compiling(self, world: str, *, wanted: bool) -> Iterator[Compiling]:
        """Compile what is here to bytecode, for one of the worlds, while something else is done.

        Args:
            world: Where the packages will be.
            wanted: Whether to do it at all. Where there is no interpreter of the image's version here, nothing is done.
        """
        python = self._builder() if wanted and self.directory.exists() else None
        is_ours = python == Path(sys.executable)
        if python is None or (is_ours and ".".join(map(str, sys.version_info[:2])) != self._target.python):
            yield Compiling(self.directory, "", None)
            return
        import subprocess

        destination = layout.site_packages(world, self._target.python)
        self._progress.step("Compiling to bytecode")
        with subprocess.Popen(
            # A hash in place of a time, and one that is not looked at: the files of an image do not change.
            [
                *(str(python), "-I", "-m", "compileall", "-q", "-j0", "--invalidation-mode", "unchecked-hash"),
                *("-x", _SELDOM_IMPORTED, "-d", destination, "."),
            ],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # some packages hold files that are not meant to be compiled
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            try:
                yield Compiling(self.directory, layout.inner(destination), process)
            except BaseException:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                raise

    def packages(self) -> list[Package]:
        """What is here."""
        return [_package(information) for information in self.directory.glob("*.dist-info")]

    def distributions(self, world: str) -> list[Distribution]:
        """What is here, as entries of one of the worlds of an image, sorted by name."""
        return sorted(
            (self._distribution(information, world) for information in self.directory.glob("*.dist-info")),
            key=lambda one: one.package.normal_name,
        )

    def check_wheels(self) -> None:
        """See that what was built here from source runs there.

        Raises:
            ProjectError: A package was built for this machine, which is of another kind than the image's.
        """
        for information in self.directory.glob("*.dist-info"):
            tags = re.findall(r"^Tag: (\S+)$", _text(information / "WHEEL"), re.MULTILINE)
            if tags and not any(self._runs_there(tag) for tag in tags):
                package = _package(information)
                raise ProjectError(
                    f"'{package}' has no wheel for {self._target.platform} and Python {self._target.python}, "
                    "and what was built from its source here does not run there",
                    hint="take a version that has a wheel, or build inside the image with --engine podman (or docker, buildah)",
                )

    def _runs_there(self, tag: str) -> bool:
        """Whether a wheel's tag is good for the target; a bare ``linux_…`` is one that was built here."""
        interpreter, _, platform = tag.split("-", 2)
        if platform == "any":
            return True
        machine = self._target.machine
        digits = self._target.python.replace(".", "")
        is_version = interpreter == f"cp{digits}" or interpreter.startswith("py") or "abi3" in tag
        return platform.startswith(("manylinux", "musllinux", "linux")) and platform.endswith(machine) and is_version

    def _distribution(self, information: Path, world: str) -> Distribution:
        place = _Place(self.directory, world, self._target.python)
        entries: list[Entry] = []
        rows: list[tuple[str, str, str]] = []
        for name, digest, size in csv.reader(io.StringIO(_text(information / "RECORD"))):
            entry = place.entry(name)
            if entry is None or name.endswith("/RECORD"):
                continue
            entries.append(entry)
            known = (digest, size) if entry.source is not None else _recorded(entry.content)
            rows.append((place.recorded(name), *known))
        own = f"{information.name}/RECORD"
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([*sorted(rows), (own, "", "")])
        record = text.getvalue().encode()
        return Distribution(package=_package(information), entries=(*entries, file(place.inside(own), record)), record=record)


class Compiling:
    """Bytecode that is being made.

    Args:
        directory: Where.
        destination: Where it will be in the image.
        process: Makes it; ``None`` if nobody does.
    """

    def __init__(self, directory: Path, destination: str, process: subprocess.Popen[bytes] | None) -> None:
        self._directory = directory
        self._destination = destination
        self._process = process

    def entries(self) -> list[Entry]:
        """What has been made, when all has."""
        if self._process is None:
            return []
        self._process.wait()
        return [
            Entry(name=f"{self._destination}/{path.relative_to(self._directory).as_posix()}", source=path)
            for path in self._directory.rglob(f"{_COMPILED}/*.pyc")
        ]


class _Place:
    """Where files of a staging directory go in an image."""

    def __init__(self, directory: Path, world: str, python: str) -> None:
        self._directory = directory
        self._world = world
        self._packages = layout.site_packages(world, python)

    def entry(self, name: str) -> Entry | None:
        """The entry for a file that a package records; ``None`` if it is not to be in the image."""
        path = self._directory / name
        parts = Path(name).parts
        if ".." in parts or name.startswith("/") or parts[-1] in _LOCAL_NOTES or _COMPILED in parts or not path.is_file():
            return None
        if parts[0] == "bin" and (content := self._rewritten(path)) is not None:
            return file(self.inside(name), content, executable=True)
        return entry_of(path, self.inside(name))

    def inside(self, name: str) -> str:
        """The name in the image."""
        return layout.inner(f"{self._world}/{name}" if self._is_beside(name) else f"{self._packages}/{name}")

    def recorded(self, name: str) -> str:
        """The name in the record, which is relative to the packages."""
        return f"../../../{name}" if self._is_beside(name) else name

    def _is_beside(self, name: str) -> bool:
        first = name.partition("/")[0]
        return first in _BESIDE and not (self._directory / first / "__init__.py").exists()

    def _rewritten(self, path: Path) -> bytes | None:
        """A Python program, with the image's interpreter in its first line; ``None`` for a program of another kind."""
        with path.open("rb") as program:
            first = program.readline(4096)
            if not first.startswith(b"#!"):
                return None
            rest = program.read()
        if b"python" not in first and not (first.startswith(b"#!/bin/sh") and _AFTER_LONG_PATH in rest):
            return None
        if first.startswith(b"#!/bin/sh"):  # how a long path of an interpreter is written
            rest = rest.partition(_AFTER_LONG_PATH)[2]
        return f"#!{self._world}/bin/python\n".encode() + rest


@contextlib.contextmanager
def staging(directory: Path, target: Target, settings: Settings, progress: Progress) -> Iterator[Staging]:
    """A staging directory, which is removed at the end."""
    place = directory / "staging" / uuid.uuid4().hex[:12]
    try:
        yield Staging(place, target, settings, progress)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def lines_for_image(requirements: Iterable[str]) -> tuple[str, ...]:
    """The lines that uv reads. What is editable here is copied as it is now: the image has nothing that it could lead to."""
    return tuple(_copied(line) for line in lines_for_uv(requirements))


def _copied(line: str) -> str:
    option, _, path = line.partition(" ")
    if option != "-e":
        return line
    return path if _SURELY_PATH.match(path) else f"./{path}"  # else it would be the name of a package


#: What costs much and changes seldom gets layers of its own, the dearest first.
_GROUPS = (
    ("CUDA's libraries", re.compile(r"nvidia-.*|cuda-.*|triton(?:-.*)?|pytorch-triton.*")),
    (
        "frameworks",
        re.compile(
            r"torch|torchvision|torchaudio|tensorflow(?:-.*)?|jax|jaxlib|jax-cuda.*|xformers|flash-attn|bitsandbytes|vllm|"
            r"onnxruntime(?:-.*)?|paddlepaddle(?:-.*)?|mxnet|opencv-.*|scipy|numpy|transformers|diffusers"
        ),
    ),
)
_OTHERS = "packages"


def grouped(distributions: Iterable[Distribution]) -> list[tuple[str, list[Distribution]]]:
    """Distributions by what they cost and how often they change, each group in a layer of its own; empty ones are left out."""
    groups: dict[str, list[Distribution]] = {name: [] for name in (*(name for name, _ in _GROUPS), _OTHERS)}
    for one in distributions:
        fitting = (name for name, pattern in _GROUPS if pattern.fullmatch(one.package.normal_name))
        groups[next(fitting, _OTHERS)].append(one)
    return [(name, members) for name, members in groups.items() if members]


def _recorded(content: bytes) -> tuple[str, str]:
    """Digest and size as a record has them."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"sha256={digest}", str(len(content))


def _package(information: Path) -> Package:
    name, _, version = information.name.removesuffix(".dist-info").partition("-")
    metadata = _text(information / "METADATA")
    named = re.search(r"^Name: (\S+)$", metadata, re.MULTILINE)
    return Package(name=named[1] if named else name, version=version)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
