"""A plan as a Dockerfile; pure. It is built in a context that ``engine_build`` lays out."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from drivetrain.environments.companions import COMPANIONS, SEEDS
from drivetrain.environments.requirements import flags_for_uv
from drivetrain.images import layout
from drivetrain.images.interpreter import server_version
from drivetrain.images.plan import HOME, Plan, container_settings, container_variables
from drivetrain.model.project import BuildCommand

#: Names in the context.
TOOLS, MODEL_PACKAGES, SERVER_PACKAGES = "tools", "model-packages", "server-packages"
REQUIREMENTS, CONSTRAINTS = "requirements.txt", "constraints.txt"
SERVER_FILES, MODEL_FILES, CERTIFICATES, WEIGHTS, PROJECT = "server", "model", "certificates.pem", "weights", "project"

#: Where the build's own files are while a command of the build runs; nothing of it stays in the image.
_MOUNTED = "/mnt/drivetrain"
#: A copy of the project, for packages that are built in it.
_COPY = "/tmp/drivetrain-project"  # noqa: S108 (in the image, where nobody else is)
#: Id of the secret that holds variables for uv: addresses of indexes, which may hold credentials.
INDEX_SECRET = "drivetrain-indexes"  # noqa: S105 (a name)

#: A path or an archive, where a name would be: with ``-e``, ``-c`` or ``--find-links``, behind ``@``, or alone.
_LOCAL = re.compile(
    r"(?!.*://)(?:-[ec] |--find-links |[\w.-]+(?:\[[^\]]*\])?\s*@\s*)?(?:[./]|file:|.*\.(?:whl|zip|tar\.\w+|tgz)\b|-[ec] )",
    re.IGNORECASE,
)

_SECRET_ID = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """What a Dockerfile depends on beside the plan.

    Attributes:
        python: ``MAJOR.MINOR`` in the image.
        precompiles: Whether packages are compiled to bytecode.
        has_index_secret: Whether the build is given variables for uv.
        model_key: Changes when what the model's packages are made from does. It stands in the instruction, since not every engine
            looks into what is mounted to see whether its cache is still right.
        server_key: The same of the server's packages.
    """

    python: str
    precompiles: bool = True
    has_index_secret: bool = False
    model_key: str = ""
    server_key: str = ""


def render_dockerfile(plan: Plan, rendering: Rendering) -> str:
    """The Dockerfile of a plan."""
    lines = "\n".join(_lines(plan, rendering))
    return f"{lines}\n"


def _lines(plan: Plan, rendering: Rendering) -> Iterator[str]:
    python = rendering.python
    spec = plan.project.environment
    settings = container_settings(plan)
    yield f"FROM {plan.base}"
    yield "USER root"
    if plan.has_certificates:
        yield f"COPY {CERTIFICATES} {layout.CERTIFICATES}"
    yield from _variables({name: value for name, value in container_variables(plan, {}, python=python).items() if name != "PATH"})
    yield f"ENV PATH={layout.MODEL}/bin:$PATH"
    if spec.system_packages:
        yield _run(
            [
                "export DEBIAN_FRONTEND=noninteractive",
                "apt-get update -qq",
                f"apt-get install -qq -y --no-install-recommends {' '.join(map(shlex.quote, spec.system_packages))}",
                "rm -rf /var/lib/apt/lists/*",
            ]
        )
    refers = refers_to_files(spec.requirements)
    yield _run(_model_steps(plan, rendering), mounts=(TOOLS, MODEL_PACKAGES, *((PROJECT,) if refers else ())), rendering=rendering)
    yield _run(_server_steps(rendering), mounts=(TOOLS, SERVER_PACKAGES), rendering=rendering)
    yield f"COPY {MODEL_FILES}/ {layout.MODEL}/"
    yield f"COPY {SERVER_FILES}/ {layout.SERVER}/"
    for command in spec.commands:
        yield f"RUN {_secrets(command)}{command.command}"
    yield f"WORKDIR {layout.SOURCE}"
    owner = f"--chown={plan.user}:{plan.user} " if plan.user is not None else ""
    if plan.user is not None:
        yield f"RUN mkdir -p {HOME} && chown {plan.user}:{plan.user} {HOME} {layout.SOURCE}"
    yield f"COPY {owner}{WEIGHTS}/ {layout.SOURCE}/"
    yield f"COPY {owner}{PROJECT}/ {layout.SOURCE}/"
    if settings["User"]:
        yield f"USER {settings['User']}"
    yield f"EXPOSE {layout.PORT}"
    yield f"ENTRYPOINT {json.dumps(settings['Entrypoint'])}"
    yield f"CMD {json.dumps(settings['Cmd'])}"


def _model_steps(plan: Plan, rendering: Rendering) -> list[str]:
    spec = plan.project.environment
    python = rendering.python
    install = (
        f"$uv pip install --quiet --python {layout.MODEL}/bin/python --index-strategy unsafe-best-match"
        f"{' --compile-bytecode' if rendering.precompiles else ''}"
    )
    flags = "".join(f" {shlex.quote(flag)}" for flag in flags_for_uv(spec.requirements))
    backend = f" --torch-backend {plan.torch_backend}" if plan.torch_backend else ""
    seeds = " ".join(map(shlex.quote, SEEDS))
    companions = " ".join(COMPANIONS)
    together = f"{install}{flags} --constraints /tmp/pins {companions}"
    refers = refers_to_files(spec.requirements)
    one_by_one = f"for name in {companions}; do {install}{flags} --constraints /tmp/pins $name || true; done"
    return [
        *([f": {rendering.model_key}"] if rendering.model_key else []),
        *([f"export UV_PYTHON_INSTALL_DIR={layout.PYTHON}"] if plan.brings_python else []),
        f"uv={_MOUNTED}/{TOOLS}/uv",
        f"$uv venv --quiet --no-project --system-site-packages {_python_flags(plan)} --python {python} {layout.MODEL}",
        # Building a package writes beside its source.
        *([f"cp -r {_MOUNTED}/{PROJECT} {_COPY}", f"cd {_COPY}"] if refers else []),
        f"{install}{flags}{backend} --requirements {_MOUNTED}/{MODEL_PACKAGES}/{REQUIREMENTS} {seeds}",
        # What came along with Cog is added where it changes nothing of what the project asked for.
        f"$uv pip freeze --python {layout.MODEL}/bin/python --exclude-editable >/tmp/pins",
        f"{{ {together} || {one_by_one}; }}",
        f"rm -r /tmp/pins{f' {_COPY}' if refers else ''}",
    ]


def _server_steps(rendering: Rendering) -> list[str]:
    place = f"{_MOUNTED}/{SERVER_PACKAGES}"
    given = f"--requirements {place}/{REQUIREMENTS} --constraints {place}/{CONSTRAINTS}"
    compiles = " --compile-bytecode" if rendering.precompiles else ""
    version = server_version(rendering.python)
    has_own = version != rendering.python  # the model's is too old for the server
    python = f"--managed-python --python {version}" if has_own else f"--python {layout.MODEL}/bin/python"
    install = f"$uv pip install --quiet --python {layout.SERVER}/bin/python{compiles}"
    return [
        *([f": {rendering.server_key}"] if rendering.server_key else []),
        *([f"export UV_PYTHON_INSTALL_DIR={layout.PYTHON}"] if has_own else []),
        f"uv={_MOUNTED}/{TOOLS}/uv",
        f"$uv venv --quiet --no-project --allow-existing {python} {layout.SERVER}",
        f"{install} --only-binary :all: {given}",
    ]


def _python_flags(plan: Plan) -> str:
    return "--managed-python" if plan.brings_python else "--no-managed-python"


def _run(steps: list[str], mounts: Sequence[str] = (), rendering: Rendering | None = None) -> str:
    """One instruction of several steps, each on a line of its own."""
    options = [f"type=bind,source={name},target={_MOUNTED}/{name}" for name in mounts]
    first = []
    if rendering is not None:
        options.append("type=cache,target=/root/.cache/uv")
    if rendering is not None and rendering.has_index_secret:
        options.append(f"type=secret,id={INDEX_SECRET}")
        first = [f"set -a && . /run/secrets/{INDEX_SECRET} && set +a"]
    flags = "".join(f"--mount={option} \\\n    " for option in options)
    return f"RUN {flags}" + " && \\\n    ".join([*first, *steps])


def refers_to_files(requirements: Sequence[str]) -> bool:
    """Whether lines of requirements name files of the project."""
    return any(_LOCAL.match(line) for line in requirements)


def _variables(variables: Mapping[str, str]) -> Iterator[str]:
    if variables:
        yield "ENV " + " \\\n    ".join(f"{name}={_quoted(value)}" for name, value in sorted(variables.items()))


def _quoted(text: str) -> str:
    """A value as ``ENV`` takes it, without anything in it being replaced."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'


def _secrets(command: BuildCommand) -> str:
    return "".join(f"--mount=type=secret,id={identity},target={target} " for identity, target in command.secret_mounts)


def is_secret_id(text: str) -> bool:
    """Whether a secret may be called so."""
    return _SECRET_ID.fullmatch(text) is not None
