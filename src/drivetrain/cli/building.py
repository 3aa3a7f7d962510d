"""What ``build`` and ``push`` share: the options of a build, and carrying it out."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from drivetrain import __version__
from drivetrain.cli.image_options import certificates, parse_platforms
from drivetrain.cli.progress import progress_on
from drivetrain.cli.terminal import Terminal
from drivetrain.dialects.cog.discovery import load_project
from drivetrain.images.archive import EPOCH, Compression
from drivetrain.images.build import Builder, BuildOrder
from drivetrain.images.descriptor import Descriptor
from drivetrain.images.direct import Built
from drivetrain.images.labels import schema_of
from drivetrain.images.layer_maker import DirectOptions
from drivetrain.images.plan import CudaBase, Wishes
from drivetrain.images.transfer import Transfers
from drivetrain.model.errors import Misuse
from drivetrain.model.project import Project
from drivetrain.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])


class BuildFlags(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a build as they were given."""

    config_name: str | None
    platforms: str | None
    base_image: str | None
    use_cuda_base_image: str
    engine: str
    secrets: tuple[str, ...]
    compression: str
    user: int | None
    no_cache: bool
    strip: bool
    precompile: bool
    schema: Path | None
    timestamp: int | None


_FLAGS = (
    click.option(
        "-f",
        "--file",
        "config_name",
        metavar="FILE",
        help="Name of the config file, here or in a directory above. [default: cog.yaml]",
    ),
    click.option(
        "--platform",
        "platforms",
        metavar="PLATFORM[,PLATFORM]",
        help="What the image runs on: linux/amd64, linux/arm64, or both in one. [default: this machine's]",
    ),
    click.option("--base-image", metavar="IMAGE", help="Image to build on. [default: what the project needs]"),
    click.option(
        "--use-cuda-base-image",
        type=click.Choice(["auto", "true", "false"]),
        default="auto",
        show_default=True,
        help="Whether to build on one of NVIDIA's images. auto: where the packages do not bring CUDA's libraries.",
    ),
    click.option(
        "--engine",
        type=click.Choice(["auto", "none", "buildah", "podman", "docker"]),
        default="auto",
        show_default=True,
        help="What builds. auto: no engine unless the project has system_packages or run; then the first that is there.",
    ),
    click.option(
        "--secret",
        "secrets",
        multiple=True,
        metavar="id=NAME,src=FILE",
        help="A secret for the commands of build.run; env=VARIABLE instead of src takes it from a variable. May be repeated.",
    ),
    click.option(
        "--compression",
        type=click.Choice(["gzip", "zstd", "none"]),
        default="gzip",
        show_default=True,
        help="How layers are compressed. zstd is several times faster, and wants Docker 23, containerd 1.5 or podman.",
    ),
    click.option(
        "--user", type=click.IntRange(1, 2**31 - 1), metavar="UID", help="Numeric user to run as. [default: root, as in Cog]"
    ),
    click.option("--no-cache", is_flag=True, help="Resolve and fetch packages anew."),
    click.option("--strip", is_flag=True, help="Take debugging symbols out of the packages' libraries."),
    click.option(
        "--precompile/--no-precompile",
        default=True,
        show_default=True,
        help="Whether packages are compiled to bytecode, where there is a Python of the image's version here.",
    ),
    click.option(
        "--openapi-schema",
        "schema",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="OpenAPI document to describe the model with. [default: read from its source]",
    ),
    click.option("--timestamp", type=click.IntRange(0), hidden=True, metavar="SECONDS"),
    click.option("--separate-weights", is_flag=True, hidden=True, expose_value=False),
    click.option("--use-cog-base-image", hidden=True, expose_value=False, metavar="VALUE"),
    click.option("--progress", hidden=True, expose_value=False, metavar="VALUE"),
    click.option("--skip-schema-validation", is_flag=True, hidden=True, expose_value=False),
)


def build_options(command: Command) -> Command:
    """The options of a build."""
    for option in reversed(_FLAGS):
        command = option(command)
    return command


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """A build that is done.

    Attributes:
        project: What was built.
        descriptor: What to name.
        images: Each image.
    """

    project: Project
    descriptor: Descriptor
    images: list[Built]


def order_of(project: Project, flags: BuildFlags, settings: Settings) -> BuildOrder:
    """What the options ask for.

    Raises:
        Misuse: One of them is not as it must be.
    """
    if flags.secrets:
        from drivetrain.images.engine_build import parse_secret
    options = DirectOptions(
        compression={"zstd": Compression.ZSTD, "gzip": Compression.GZIP, "none": Compression.NONE}[flags.compression],
        uses_cache=not flags.no_cache,
        precompiles=flags.precompile,
        strips=flags.strip,
        created=EPOCH if flags.timestamp is None else _moment(flags.timestamp),
        certificates=certificates(settings.environ.get("COG_CA_CERT")),
    )
    wishes = Wishes(base=flags.base_image, cuda_base=CudaBase(flags.use_cuda_base_image), engine=flags.engine, user=flags.user)
    with _revision(project.root, settings) as revision:
        return BuildOrder(
            project=project,
            platforms=parse_platforms(flags.platforms),
            wishes=wishes,
            options=options,
            secrets=[parse_secret(text) for text in flags.secrets],
            schema=_schema(flags.schema) if flags.schema else schema_of(project, version=__version__),
            revision=revision(),  # at the end: git looks while the project is read
        )


def build(flags: BuildFlags, settings: Settings, transfers: Transfers, terminal: Terminal) -> Finished:
    """Build the project in the working directory."""
    loaded = load_project(Path.cwd(), flags.config_name)
    for warning in loaded.warnings:
        terminal.finding(warning)
    order = order_of(loaded.project, flags, settings)
    with progress_on(terminal) as progress:
        builder = Builder(transfers=transfers, settings=settings, progress=progress)
        planned = builder.plans(order)  # what cannot be built is told before anything is read
        files, findings = builder.files(order)
        for finding in findings:
            terminal.finding(finding)
        descriptor, images = builder.build(order, planned, files)
    return Finished(project=loaded.project, descriptor=descriptor, images=images)


def _schema(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise Misuse(f"'{path}' is not JSON: {error}") from error
    if not isinstance(document, dict) or "components" not in document:
        raise Misuse(f"'{path}' is not an OpenAPI document: it has no 'components'")
    return document


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextlib.contextmanager
def _revision(root: Path, settings: Settings) -> Iterator[Callable[[], dict[str, str]]]:
    """Labels that say which revision of the project this is, as far as git or the CI says; what is yielded waits for them."""
    environ = settings.environ
    with contextlib.ExitStack() as stack:
        revision = _told(environ.get("GITHUB_SHA")) or _git(stack, root, settings, "rev-parse", "HEAD")
        version = _told(environ.get("GITHUB_REF_NAME")) or _git(stack, root, settings, "describe", "--tags", "--dirty")

        def labels() -> dict[str, str]:
            found = {"org.opencontainers.image.revision": revision(), "org.opencontainers.image.version": version()}
            return {name: value for name, value in found.items() if value}

        yield labels


def _told(text: str | None) -> Callable[[], str] | None:
    return (lambda: text) if text else None


def _git(stack: contextlib.ExitStack, root: Path, settings: Settings, *arguments: str) -> Callable[[], str]:
    """Ask git; what is returned waits for its answer, which is empty if it has none."""
    program = shutil.which("git", path=settings.environ.get("PATH"))
    if program is None:
        return lambda: ""
    process = stack.enter_context(
        subprocess.Popen(
            [program, "-C", str(root), *arguments],
            env=dict(settings.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    )

    def answer() -> str:
        text, _ = process.communicate()
        return text.strip() if process.returncode == 0 else ""

    return answer
