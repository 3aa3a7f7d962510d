"""The systems that are compared: how each is installed, started and asked, in its own best documented configuration."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from load import Request

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CACHE = ROOT / ".cache" / "benchmarks"

#: The word that most models turn round.
TEXT = "hello, world"
TOKENS = 100
LARGE_BYTES = 1_000_000
FILE_BYTES = 10 * 1024 * 1024

#: The inputs of each model.
INPUTS: Mapping[str, dict[str, object]] = {
    "trivial": {"text": TEXT},
    "synchronous": {"text": TEXT},
    "sleep": {"text": TEXT},
    "stream": {"count": TOKENS},
    "file": {"name": "benchmark"},
    "large": {"text": "x" * LARGE_BYTES},
}

#: What must stand in the body of a right answer.
EXPECTED: Mapping[str, str] = {
    "trivial": TEXT[::-1],
    "synchronous": TEXT[::-1],
    "sleep": TEXT[::-1],
    "stream": f"token{TOKENS - 1} ",
    "file": "AAECAwQFBgcICQoLDA0O",
    "large": str(LARGE_BYTES),
}


@dataclass(frozen=True, kw_only=True)
class Command:
    """How to start a server."""

    arguments: list[str]
    directory: Path
    variables: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class System:
    """One system.

    Attributes:
        name: As it stands in the tables.
        packages: What is installed for it; empty for what runs from this checkout.
        models: The models it serves here.
        command: Makes the command for a model, a number of predictions at once, a port, and the directory of its own Python.
        request: Makes the request for a model.
        token: What stands once in a stream for each token.
        module: What a program imports to write a model for it.
    """

    name: str
    packages: tuple[str, ...]
    models: frozenset[str]
    command: Callable[[str, int, int, Path], Command]
    request: Callable[[str], Request]
    token: bytes = b"token"
    module: str = ""

    def install(self) -> Path:
        """Make its environment, if that has not been done; the directory of its programs."""
        if not self.packages:
            return Path(sys.executable).parent
        environment = CACHE / "environments" / self.name.replace(" ", "-")
        programs = environment / "bin"
        wanted = "\n".join(self.packages)
        mark = environment / "complete"
        if not mark.exists() or mark.read_text() != wanted:
            uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
            assert uv is not None, "uv is a dependency of drivetrain"
            python = f"{sys.version_info.major}.{sys.version_info.minor}"
            subprocess.run([uv, "venv", "--quiet", "--clear", "--python", python, environment], check=True)
            install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", programs / "python"]
            subprocess.run([*install, *self.packages], check=True)
            mark.write_text(wanted)
        return programs

    def versions(self) -> dict[str, str]:
        """The versions of its packages."""
        code = "import importlib.metadata as m, sys, json; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
        names = [package.partition("=")[0].partition("[")[0] for package in self.packages] or ["drivetrain"]
        output = subprocess.run([self.install() / "python", "-c", code, *names], check=True, capture_output=True, text=True)
        return dict(json.loads(output.stdout))


def _json(path: str, body: object, **headers: str) -> Request:
    return Request(path=path, body=json.dumps(body).encode(), headers=headers)


def _cog_request(model: str) -> Request:
    accept = {"Accept": "text/event-stream"} if model == "stream" else {}
    return _json("/predictions", {"input": INPUTS[model]}, **accept)


def _project(model: str, concurrency: int) -> Path:
    """A Cog project for a model, with the document that ``cog build`` would have put into its image."""
    from drivetrain import __version__
    from drivetrain.dialects.cog.openapi import openapi_document
    from drivetrain.dialects.cog.static_reading import read_statically

    source = HERE / "models" / "cog" / model
    project = CACHE / "projects" / f"{model}-{concurrency}"
    (project / ".cog").mkdir(parents=True, exist_ok=True)
    shutil.copy(source / "predict.py", project)
    config = (source / "cog.yaml").read_text().replace("max: 256", f"max: {concurrency}")
    (project / "cog.yaml").write_text(config)
    signature = read_statically(project, "predict.py", "Predictor", "predict").signature
    (project / ".cog" / "openapi_schema.json").write_text(json.dumps(openapi_document(signature, None, version=__version__)))
    return project


def _drivetrain(model: str, concurrency: int, port: int, programs: Path) -> Command:
    arguments = [str(programs / "drivetrain"), "serve", "--env", "host", "--port", str(port)]
    if model == "synchronous":
        arguments += ["--queue", str(concurrency)]
    return Command(arguments=arguments, directory=_project(model, concurrency))


def _cog(model: str, concurrency: int, port: int, programs: Path) -> Command:
    variables = {
        "PORT": str(port),
        "COG_MAX_CONCURRENCY": str(1 if model == "synchronous" else concurrency),
        "COG_PREDICT_TYPE_STUB": "predict.py:Predictor",
        "PATH": f"{programs}:{os.environ['PATH']}",
    }
    arguments = [str(programs / "python"), "-m", "cog.server.http"]
    return Command(arguments=arguments, directory=_project(model, concurrency), variables=variables)


_ALL = frozenset(INPUTS)

DRIVETRAIN = System(
    name="drivetrain",
    packages=(),
    models=_ALL,
    command=_drivetrain,
    request=_cog_request,
    token=b"event: output",
)
COG = System(
    name="cog",
    packages=("cog", "coglet"),
    models=_ALL,
    command=_cog,
    request=_cog_request,
    token=b"event: output",
    module="cog",
)

SYSTEMS = {system.name: system for system in (DRIVETRAIN, COG)}
