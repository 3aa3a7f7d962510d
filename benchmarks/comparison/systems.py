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
    "busy": {"text": TEXT},
    "batch": {"text": TEXT},
    "unbatched": {"text": TEXT},
    "sleep": {"text": TEXT},
    "stream": {"count": TOKENS},
    "file": {"name": "benchmark"},
    "large": {"text": "x" * LARGE_BYTES},
    "text": {"count": LARGE_BYTES},
}

#: One of these must stand in the body of a right answer.
EXPECTED: Mapping[str, tuple[bytes, ...]] = {
    "trivial": (TEXT[::-1].encode(),),
    "synchronous": (TEXT[::-1].encode(),),
    "busy": (TEXT[::-1].encode(),),
    "batch": (TEXT[::-1].encode(),),
    "unbatched": (TEXT[::-1].encode(),),
    "sleep": (TEXT[::-1].encode(),),
    "stream": (f"token{TOKENS - 1} ".encode(),),
    "file": (b"AAECAwQFBgcICQoLDA0O", bytes(range(256))),  # a data URL, or the bytes themselves
    "large": (str(LARGE_BYTES).encode(),),
    "text": (b"x" * 1000,),
}

#: What an answer has at least, where that is much.
LEAST_BYTES: Mapping[str, int] = {"file": FILE_BYTES, "text": LARGE_BYTES}


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
        imports: The statement at the head of a model for it.
    """

    name: str
    packages: tuple[str, ...]
    models: frozenset[str]
    command: Callable[[str, int, int, Path], Command]
    request: Callable[[str], Request]
    token: bytes = b"token"
    imports: str = ""

    def install(self) -> Path:
        """Make its environment, if that has not been done; the directory of its programs."""
        if not self.packages:
            return Path(sys.executable).parent
        return make_environment(self.name.replace(" ", "-"), self.packages) / "bin"

    def versions(self) -> dict[str, str]:
        """The versions of its packages."""
        code = "import importlib.metadata as m, sys, json; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
        names = [package.partition("=")[0].partition("[")[0] for package in self.packages] or ["drivetrain"]
        output = subprocess.run([self.install() / "python", "-c", code, *names], check=True, capture_output=True, text=True)
        return dict(json.loads(output.stdout))


def make_environment(name: str, packages: tuple[str, ...]) -> Path:
    """Install packages, in their newest versions, into an environment of their own, unless that has been done; its directory."""
    environment = CACHE / "environments" / name
    wanted = "\n".join(packages)
    mark = environment / "complete"
    if not mark.exists() or mark.read_text() != wanted:
        uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        assert uv is not None, "uv is a dependency of drivetrain"
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", python, environment], check=True)
        install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", environment / "bin" / "python"]
        subprocess.run([*install, *packages], check=True)
        mark.write_text(wanted)
    return environment


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

    source = HERE / "models" / "cog_projects" / model
    project = CACHE / "projects" / f"{model}-{concurrency}"
    (project / ".cog").mkdir(parents=True, exist_ok=True)
    shutil.copy(source / "predict.py", project)
    config = (source / "cog.yaml").read_text().replace("max: 256", f"max: {concurrency}")
    (project / "cog.yaml").write_text(config)
    signature = read_statically(project, "predict.py", "Predictor", "predict").signature
    (project / ".cog" / "openapi_schema.json").write_text(json.dumps(openapi_document(signature, None, version=__version__)))
    return project


def drivetrain_command(model: str, concurrency: int, port: int, programs: Path, *, options: tuple[str, ...] = ()) -> Command:
    """How to serve a model, with some options of ``drivetrain serve``, with the Python of its own environment, as for Cog."""
    arguments = [str(programs / "drivetrain"), "serve", "--env", "host", "--port", str(port), *options]
    variables = {"PATH": f"{programs}:{os.environ['PATH']}"}
    return Command(arguments=arguments, directory=_project(model, concurrency), variables=variables)


def _cog(model: str, concurrency: int, port: int, programs: Path) -> Command:
    variables = {
        "PORT": str(port),
        "COG_MAX_CONCURRENCY": str(1 if model == "synchronous" else concurrency),
        "COG_PREDICT_TYPE_STUB": "predict.py:Predictor",
        "PATH": f"{programs}:{os.environ['PATH']}",
    }
    arguments = [str(programs / "python"), "-m", "cog.server.http"]
    return Command(arguments=arguments, directory=_project(model, concurrency), variables=variables)


_ALL = frozenset(INPUTS) - {"busy", "batch", "unbatched"}  # which only we are asked

DRIVETRAIN = System(
    name="drivetrain",
    packages=(),
    models=_ALL,
    command=drivetrain_command,
    request=_cog_request,
    token=b"event: output",
)


def _file_server(name: str, *arguments: str) -> Callable[[str, int, int, Path], Command]:
    """A command that runs a file among the models; ``{model}``, ``{port}`` and ``{other}`` stand for what they say."""

    def command(model: str, _concurrency: int, port: int, programs: Path) -> Command:
        values = {"model": model, "port": str(port), "other": str(port - 1)}
        filled = [argument.format(**values) for argument in arguments]
        return Command(
            arguments=[str(programs / "python"), str(HERE / "models" / name), *filled], directory=_working_directory(name)
        )

    return command


def _bentoml(_model: str, _concurrency: int, port: int, programs: Path) -> Command:
    arguments = [str(programs / "bentoml"), "serve", "bentoml_service:Service", "--port", str(port), "--host", "127.0.0.1"]
    variables = {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(CACHE / "bentoml")}
    return Command(arguments=arguments, directory=HERE / "models", variables=variables)


def _working_directory(name: str) -> Path:
    directory = CACHE / "projects" / name
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _plain_request(model: str) -> Request:
    return _json(f"/{model}", INPUTS[model])


_SERVED = frozenset({"trivial", "sleep", "large", "text", "stream"})

COG = System(
    name="cog",
    packages=("cog", "coglet"),
    models=_ALL,
    command=_cog,
    request=_cog_request,
    token=b"event: output",
    imports="from cog import BasePredictor, Input, Path",
)

ASGI = System(
    name="bare ASGI",
    packages=("uvicorn[standard]",),
    models=frozenset({"trivial"}),
    command=_file_server("asgi_server.py", "{port}"),
    request=_plain_request,
    imports="import uvicorn",
)
FASTAPI = System(
    name="fastapi",
    packages=("fastapi", "uvicorn[standard]"),
    models=_SERVED | {"file"},
    command=_file_server("fastapi_server.py", "{port}"),
    request=_plain_request,
    imports="import fastapi",
)
LITSERVE = System(
    name="litserve",
    packages=("litserve",),
    models=_SERVED,
    command=_file_server("litserve_server.py", "{model}", "{port}"),
    request=lambda model: _json("/predict", INPUTS[model]),
    imports="import litserve",
)
BENTOML = System(
    name="bentoml",
    packages=("bentoml",),
    models=_SERVED | {"file"},
    command=_bentoml,
    request=_plain_request,
    imports="import bentoml",
)
FAL = System(
    name="fal",
    packages=("fal",),
    models=_SERVED,
    command=_file_server("fal_app.py", "{port}", "{other}"),
    request=_plain_request,
    imports="import fal",
)
RUNPOD = System(
    name="runpod",
    packages=("runpod",),
    models=frozenset({"trivial", "sleep", "large", "text"}),
    command=_file_server("runpod_handler.py", "--rp_serve_api", "--rp_api_port", "{port}", "--rp_log_level", "ERROR"),
    request=lambda model: _json("/runsync", {"input": {"model": model, **INPUTS[model]}}),
    imports="import runpod",
)

SYSTEMS = {system.name: system for system in (DRIVETRAIN, COG, ASGI, FASTAPI, LITSERVE, BENTOML, FAL, RUNPOD)}
