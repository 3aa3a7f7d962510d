"""What an image shall be, decided before anything is done; pure.

One plan is carried out in two ways: written directly as layers, or built by a container engine from a Dockerfile. So it holds all
that makes the image what it is, and nothing of how it is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import msgspec

from drivetrain.environments.torch import torch_backend
from drivetrain.images import layout
from drivetrain.images.cuda import DEFAULT_TORCH_BACKEND, brings_libraries, choose_cuda_image
from drivetrain.images.descriptor import Platform
from drivetrain.model.errors import ProjectError
from drivetrain.model.project import Project

#: When the project does not say: the version that most packages have wheels for.
DEFAULT_PYTHON = "3.12"

_SECOND = 1_000_000_000


class Way(Enum):
    """How an image is made."""

    DIRECT = "direct"
    ENGINE = "engine"


class CudaBase(Enum):
    """Whether to build on one of NVIDIA's images."""

    AUTO = "auto"
    ALWAYS = "true"
    NEVER = "false"


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asks for beside what the project says.

    Attributes:
        base: The image to build on.
        cuda_base: Whether to take one of NVIDIA's.
        engine: ``auto``, ``none``, or an engine by name.
        user: Numeric user that the container runs as; ``None`` for root, as in Cog.
        has_certificates: Whether certificates are put into the image.
        labels: Of the image, beside those that say what it is.
    """

    base: str | None = None
    cuda_base: CudaBase = CudaBase.AUTO
    engine: str = "auto"
    user: int | None = None
    has_certificates: bool = False
    labels: Mapping[str, str] = {}


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """An image to be made.

    Attributes:
        project: What it is made from.
        platform: What it shall run on.
        way: How it is made.
        reason: Why so, in a few words.
        base: The image to build on.
        brings_python: Whether the base has no Python, so that one must be brought.
        python: ``MAJOR.MINOR`` that the project asks for; ``None`` takes what the base has.
        torch_backend: Which builds of PyTorch, by uv's name for them.
        user: Numeric user that the container runs as.
        has_certificates: Whether ``layout.CERTIFICATES`` is in it.
        labels: All of its labels that are known beforehand.
    """

    project: Project
    platform: Platform
    way: Way
    reason: str
    base: str
    brings_python: bool
    python: str | None
    torch_backend: str | None
    user: int | None
    has_certificates: bool
    labels: Mapping[str, str]


def make_plan(project: Project, platform: Platform, wishes: Wishes) -> Plan:
    """Decide.

    Raises:
        ProjectError: The project asks for what there is no base for, or for an engine that it is not allowed to use.
    """
    spec = project.environment
    way, reason = _choose_way(project, wishes)
    python = ".".join(spec.python_version.split(".")[:2]) if spec.python_version else None
    base, brings_python = _choose_base(project, wishes, python or DEFAULT_PYTHON)
    backend = torch_backend(spec.requirements, gpu=spec.gpu, cuda=spec.cuda, platform="linux")
    named = wishes.base or spec.base
    return Plan(
        project=project,
        platform=platform,
        way=way,
        reason=reason,
        base=base,
        brings_python=brings_python,
        python=python or (None if named else DEFAULT_PYTHON),
        torch_backend=DEFAULT_TORCH_BACKEND if backend == "auto" else backend,
        user=wishes.user,
        has_certificates=wishes.has_certificates,
        labels=wishes.labels,
    )


def _choose_way(project: Project, wishes: Wishes) -> tuple[Way, str]:
    spec = project.environment
    needs = [name for name, there in (("build.system_packages", spec.system_packages), ("build.run", spec.commands)) if there]
    if wishes.engine not in ("auto", "none"):
        return Way.ENGINE, f"--engine {wishes.engine}"
    if not needs:
        return Way.DIRECT, "nothing in it has to be run to be built"
    if wishes.engine == "none":
        raise ProjectError(
            f"the project cannot be built without a container engine, since it has '{needs[0]}'",
            hint=f"leave out --engine none, or give an image that has it with --base-image and remove '{needs[0]}'",
        )
    return Way.ENGINE, f"the project has {' and '.join(needs)}"


def _choose_base(project: Project, wishes: Wishes, python: str) -> tuple[str, bool]:
    """The base, and whether it lacks a Python."""
    spec = project.environment
    if named := wishes.base or spec.base:
        return named, False
    needs_cuda = spec.gpu and not brings_libraries(spec.requirements)
    if wishes.cuda_base is CudaBase.ALWAYS or (needs_cuda and wishes.cuda_base is CudaBase.AUTO):
        return choose_cuda_image(spec).name, True
    return f"python:{python}-slim", False


def container_variables(plan: Plan, base: Mapping[str, str], *, python: str) -> dict[str, str]:
    """The environment variables of the image.

    Args:
        plan: The plan.
        base: Those of the base.
        python: ``MAJOR.MINOR`` in the image.
    """
    project = plan.project
    path = base.get("PATH") or "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    result = {
        **base,
        "PATH": f"{layout.MODEL}/bin:{path}",
        "VIRTUAL_ENV": layout.MODEL,
        "PYTHONUNBUFFERED": "1",
        "LANG": base.get("LANG", "C.UTF-8"),
        "R8_PYTHON_VERSION": python,
    }
    if project.environment.gpu:
        result |= {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "all"}
    if plan.has_certificates:
        result |= {"SSL_CERT_FILE": layout.CERTIFICATES, "REQUESTS_CA_BUNDLE": layout.CERTIFICATES}
    if plan.user is not None:
        result |= {"HOME": HOME}
    for name, reference in (("PREDICT", project.predict), ("TRAIN", project.train)):
        if reference is not None:
            result[f"COG_{name}_TYPE_STUB"] = str(reference)
    if project.concurrency is not None:
        result["COG_MAX_CONCURRENCY"] = str(project.concurrency)
    return result | dict(project.environment.variables)


#: The home of a user that is not root, who has none in the base.
HOME = "/home/model"


def container_settings(plan: Plan) -> dict[str, Any]:
    """How a container of the image is run, by the names that image configs have for it, but for variables and labels."""
    server = f"{layout.SERVER}/bin/python"
    return {
        "WorkingDir": layout.SOURCE,
        "Entrypoint": [server, "-IS", layout.INIT, "--"],
        "Cmd": ["python", "-m", "cog.server.http"],
        "ExposedPorts": {f"{layout.PORT}/tcp": {}},
        "Healthcheck": {
            "Test": ["CMD", server, "-IS", layout.HEALTH],
            "Interval": 15 * _SECOND,
            "Timeout": 10 * _SECOND,
            "StartPeriod": 1800 * _SECOND,  # set-up may load for long; what answers sooner is healthy sooner
            "Retries": 3,
        },
        "User": f"{plan.user}:{plan.user}" if plan.user is not None else "",  # root, whatever the base says
    }
