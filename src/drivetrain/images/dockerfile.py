"""A plan as a Dockerfile; pure. It is built in a context that ``engine_build`` lays out."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping

from drivetrain.environments.companions import COMPANIONS, SEEDS
from drivetrain.environments.requirements import flags_for_uv
from drivetrain.images import layout
from drivetrain.images.plan import HOME, Plan, container_settings, container_variables
from drivetrain.model.project import BuildCommand

#: Names in the context.
TOOLS, REQUIREMENTS, SERVER_REQUIREMENTS, SERVER_CONSTRAINTS = "tools", "requirements.txt", "server.txt", "server-constraints.txt"
SERVER_FILES, MODEL_FILES, CERTIFICATES, WEIGHTS, PROJECT = "server", "model", "certificates.pem", "weights", "project"

#: Where the build's own files are while a command of the build runs; nothing of it stays in the image.
_MOUNTED = "/mnt/drivetrain"
#: Id of the secret that holds variables for uv: addresses of indexes, which may hold credentials.
INDEX_SECRET = "drivetrain-indexes"  # noqa: S105 (a name)

_SECRET_ID = re.compile(r"[A-Za-z0-9_.-]+")


def render_dockerfile(plan: Plan, *, python: str, precompiles: bool = True, has_index_secret: bool = False) -> str:
    """The Dockerfile of a plan.

    Args:
        plan: The plan.
        python: ``MAJOR.MINOR`` in the image.
        precompiles: Whether packages are compiled to bytecode.
        has_index_secret: Whether the build is given variables for uv.
    """
    lines = "\n".join(_lines(plan, python, precompiles=precompiles, has_index_secret=has_index_secret))
    return f"{lines}\n"


def _lines(plan: Plan, python: str, *, precompiles: bool, has_index_secret: bool) -> Iterator[str]:
    spec = plan.project.environment
    settings = container_settings(plan)
    yield f"FROM {plan.base}"
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
    yield _run(_model_steps(plan, python, precompiles=precompiles), mounts=_mounts(has_index_secret), loads=has_index_secret)
    yield _run(_server_steps(python, precompiles=precompiles), mounts=_mounts(has_index_secret), loads=has_index_secret)
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
    if "User" in settings:
        yield f"USER {settings['User']}"
    yield f"EXPOSE {layout.PORT}"
    yield f"ENTRYPOINT {json.dumps(settings['Entrypoint'])}"
    yield f"CMD {json.dumps(settings['Cmd'])}"


def _model_steps(plan: Plan, python: str, *, precompiles: bool) -> list[str]:
    spec = plan.project.environment
    install = (
        f"$uv pip install --quiet --python {layout.MODEL}/bin/python --index-strategy unsafe-best-match"
        f"{' --compile-bytecode' if precompiles else ''}"
    )
    flags = "".join(f" {shlex.quote(flag)}" for flag in flags_for_uv(spec.requirements))
    backend = f" --torch-backend {plan.torch_backend}" if plan.torch_backend else ""
    seeds = " ".join(map(shlex.quote, SEEDS))
    companions = " ".join(COMPANIONS)
    together = f"{install}{flags} --constraints /tmp/pins {companions}"
    one_by_one = f"for name in {companions}; do {install}{flags} --constraints /tmp/pins $name || true; done"
    return [
        f"uv={_MOUNTED}/{TOOLS}/uv",
        f"$uv venv --quiet --no-project --system-site-packages {_python_flags(plan)} --python {python} {layout.MODEL}",
        f"cd {_MOUNTED}/{PROJECT}",
        f"{install}{flags}{backend} --requirements {_MOUNTED}/{REQUIREMENTS} {seeds}",
        # What came along with Cog is added where it changes nothing of what the project asked for.
        f"$uv pip freeze --python {layout.MODEL}/bin/python --exclude-editable >/tmp/pins",
        f"{{ {together} || {one_by_one}; }}",
        "rm /tmp/pins",
    ]


def _server_steps(python: str, *, precompiles: bool) -> list[str]:
    given = f"--requirements {_MOUNTED}/{SERVER_REQUIREMENTS} --constraints {_MOUNTED}/{SERVER_CONSTRAINTS}"
    install = f"$uv pip install --quiet --python {layout.SERVER}/bin/python{' --compile-bytecode' if precompiles else ''}"
    return [
        f"uv={_MOUNTED}/{TOOLS}/uv",
        f"$uv venv --quiet --no-project --allow-existing --python {layout.MODEL}/bin/python{python} {layout.SERVER}",
        f"{install} --only-binary :all: {given}",
    ]


def _python_flags(plan: Plan) -> str:
    return f"--managed-python --install-dir {layout.PYTHON}" if plan.brings_python else "--no-managed-python"


def _mounts(has_index_secret: bool) -> list[str]:
    secret = [f"type=secret,id={INDEX_SECRET}"] if has_index_secret else []
    return [f"type=bind,target={_MOUNTED}", "type=cache,target=/root/.cache/uv", *secret]


def _run(steps: list[str], mounts: list[str] | None = None, *, loads: bool = False) -> str:
    """One instruction of several steps, each on a line of its own."""
    options = "".join(f"--mount={mount} \\\n    " for mount in mounts or ())
    first = [f"set -a && . /run/secrets/{INDEX_SECRET} && set +a"] if loads else []
    return f"RUN {options}" + " && \\\n    ".join([*first, *steps])


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
