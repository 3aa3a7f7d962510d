"""Run images with docker or podman: ours, and those that Cog built."""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from drivetrain.images import layout
from drivetrain.images.engines import Engine
from drivetrain.images.export import image_of, write_docker_archive, write_layout
from drivetrain.images.image import Image, Manifest
from drivetrain.images.labels import CONFIG, DRIVETRAIN, SCHEMA, label
from drivetrain.images.reference import DOCKER_HUB, parse_reference
from drivetrain.images.transfer import Transfers
from drivetrain.model.errors import OutsideFailed, ProjectError

#: As Cog's own command line gives containers; PyTorch's loaders of data take much of it.
_SHARED_MEMORY = "6g"
_POLL_SECONDS = 0.1
STOP_SECONDS = 15

#: A prediction may take for ever; a connection to this machine may not.
NO_LIMIT = httpx.Timeout(None, connect=15.0)

_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, kw_only=True)
class Running:
    """How to run an image.

    Attributes:
        name: What the engine knows it by.
        image: Its config.
        gpus: What ``--gpus`` says; ``None`` leaves it to the image and this machine.
        platform: What ``--platform`` says.
        variables: For the model.
        ports: Addresses and ports of this machine, for port 5000 of the container; an address without a port takes a free one.
        arguments: In place of the image's own command.
    """

    name: str
    image: Image
    gpus: str | None = None
    platform: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    ports: Sequence[str] = ()
    arguments: Sequence[str] = ()

    @property
    def wants_gpus(self) -> bool:
        """Whether the model asks for a GPU."""
        with contextlib.suppress(ValueError, AttributeError, TypeError):
            config: Any = json.loads(label(self.image.labels, CONFIG) or "{}")
            return bool((config.get("build") or {}).get("gpu"))
        return False

    @property
    def is_ours(self) -> bool:
        """Whether drivetrain built it."""
        return label(self.image.labels, DRIVETRAIN) is not None

    @property
    def schema(self) -> Any:
        """The model's OpenAPI document, as the image carries it."""
        try:
            return json.loads(label(self.image.labels, SCHEMA) or "null")
        except ValueError:
            return None


def load_image(engine: Engine, transfers: Transfers, manifest: Manifest, name: str) -> None:
    """Hand an image of the store to an engine, under a name.

    Raises:
        OutsideFailed: A layer of the base cannot be brought here; the engine refuses the image.
    """
    transfers.complete(manifest)
    with tempfile.TemporaryDirectory(prefix="drivetrain-load-") as temporary:
        if engine.name == "docker":
            archive = Path(temporary) / "image.docker.tar"
            write_docker_archive(transfers.store, image_of(transfers.store, manifest), name, archive)
            engine.call("load", "--quiet", "--input", str(archive))
            return
        archive = Path(temporary) / "image.tar"
        write_layout(transfers.store, manifest, _podman_name(name), archive)
        engine.call("load", "--quiet", "--input", str(archive))


def _podman_name(name: str) -> str:
    """The whole name that podman gives an image: one without a registry is of this machine."""
    reference = parse_reference(name)
    if reference.registry == DOCKER_HUB and reference.repository.startswith("library/"):
        return f"localhost/{reference.repository.removeprefix('library/')}:{reference.tag}"
    return str(reference)


def has_image(engine: Engine, name: str) -> bool:
    """Whether an engine has an image."""
    with contextlib.suppress(OutsideFailed):
        engine.call("image", "inspect", name)
        return True
    return False


def image_in(engine: Engine, name: str) -> Image:
    """The config of an image that an engine has."""
    (found,) = json.loads(engine.call("image", "inspect", name))
    settings = found.get("Config") or {}
    return Image(config={"architecture": found.get("Architecture"), "os": found.get("Os"), "config": settings})


def run_command(engine: Engine, running: Running, *flags: str, removes: bool = True) -> list[str]:
    """The command line that runs an image.

    Args:
        engine: What runs it.
        running: How.
        flags: More of them for the engine.
        removes: Whether the container goes when it ends.

    Raises:
        ProjectError: A GPU is asked for that this machine has not.
    """
    words = ["run", *(("--rm",) if removes else ()), "--shm-size", _SHARED_MEMORY, *flags]
    for name, value in running.variables.items():
        words += ["--env", f"{name}={value}"]
    for port in running.ports:
        words += ["--publish", f"{port}:{layout.PORT}"]
    if running.platform:
        words += ["--platform", running.platform]
    return engine.command(*words, *_gpu_flags(engine, running), running.name, *running.arguments)


def chosen_gpus(running: Running) -> str | None:
    """Which GPUs the model sees: ``all``, or what ``--gpus`` says; ``None`` for none.

    Raises:
        ProjectError: One is asked for that this machine has not.
    """
    gpus = running.gpus
    if gpus is None:
        return "all" if running.wants_gpus and _DRIVER.exists() else None
    if gpus in ("", "none", "0"):
        return None
    if not _DRIVER.exists():
        raise ProjectError(
            f"--gpus {gpus} is asked for, and this machine has no NVIDIA driver", hint="leave it out to run on the CPU"
        )
    return gpus


def _gpu_flags(engine: Engine, running: Running) -> list[str]:
    gpus = chosen_gpus(running)
    if gpus is None:
        return []
    if engine.name == "docker":
        return ["--gpus", gpus]
    devices = ["all"] if gpus == "all" else gpus.removeprefix("device=").strip('"').split(",")
    return [word for device in devices for word in ("--device", f"nvidia.com/gpu={device}")]


@dataclass(frozen=True, kw_only=True)
class Container:
    """A container that serves a model.

    Attributes:
        client: Talks to the server in it.
        logs: What it has written.
        is_running: Whether it has not ended.
    """

    client: httpx.Client
    logs: Callable[[], str]
    is_running: Callable[[], bool]

    def wait_until_ready(self, limit: timedelta, told: Callable[[str], None]) -> None:
        """Wait for the model's set-up.

        Args:
            limit: How long it may take.
            told: Called with what the container has written, when it fails.

        Raises:
            ProjectError: Set-up failed, the container ended, or it took too long.
        """
        deadline = time.monotonic() + limit.total_seconds()
        while time.monotonic() < deadline:
            status, failure = self._health()
            if status in ("READY", "BUSY"):
                return
            if status in ("SETUP_FAILED", "DEFUNCT") or (status is None and not self.is_running()):
                told(self.logs())
                what = "the model failed in set-up" if status else "the container ended before it served"
                raise ProjectError(f"{what}{f': {failure}' if failure else ''}", hint="what it wrote is above")
            time.sleep(_POLL_SECONDS)
        told(self.logs())
        raise ProjectError(f"the model was not set up in {limit.total_seconds():.0f} s", hint="--setup-timeout gives it longer")

    def _health(self) -> tuple[str | None, str | None]:
        try:
            document = self.client.get("/health-check", timeout=15).json()
        except (httpx.HTTPError, ValueError):
            return None, None
        setup = document.get("setup") or {}
        lines = str(setup.get("logs") or "").strip().splitlines()
        return document.get("status"), lines[-1] if lines else None


@contextlib.contextmanager
def started(engine: Engine, running: Running) -> Iterator[Container]:
    """A container that serves on a free port of this machine; it is gone at the end.

    Raises:
        OutsideFailed: The engine cannot start it.
    """
    identity = f"drivetrain-{uuid.uuid4().hex[:12]}"
    # Without --rm: what a container wrote that ended at once is still wanted.
    command = run_command(engine, running, "--detach", "--name", identity, removes=False)
    try:
        engine.call(*command[1:])
        address = engine.call("port", identity, f"{layout.PORT}/tcp").splitlines()[0].strip()
        with httpx.Client(base_url=f"http://{address}", timeout=NO_LIMIT, trust_env=False) as client:
            yield Container(
                client=client,
                logs=functools.partial(_logs, engine, identity),
                is_running=functools.partial(_is_running, engine, identity),
            )
    finally:
        with contextlib.suppress(OutsideFailed):
            engine.call("stop", "--time", str(STOP_SECONDS), identity)
        with contextlib.suppress(OutsideFailed):
            engine.call("rm", "--force", identity)


def _logs(engine: Engine, identity: str) -> str:
    done = subprocess.run(
        engine.command("logs", identity),
        env=dict(engine.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return done.stdout


def _is_running(engine: Engine, identity: str) -> bool:
    with contextlib.suppress(OutsideFailed):
        return engine.call("inspect", "--format", "{{.State.Running}}", identity).strip() == "true"
    return False
