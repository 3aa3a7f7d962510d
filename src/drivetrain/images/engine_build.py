"""Make an image with a container engine: lay out a context, build the Dockerfile in it, take what came of it into the store.

There it is finished as a directly made image is: with the same settings and labels, from the same plan.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from drivetrain.environments.environment import Progress
from drivetrain.environments.requirements import local_content
from drivetrain.environments.uv import uv_binary
from drivetrain.images import dockerfile, layout
from drivetrain.images.archive import Entry, Kind, file
from drivetrain.images.base import Base, find_base
from drivetrain.images.descriptor import Descriptor, platform_of
from drivetrain.images.direct import Built
from drivetrain.images.dockerfile import Rendering, render_dockerfile
from drivetrain.images.engines import Engine, run_program
from drivetrain.images.errors import ImageNotFound
from drivetrain.images.export import image_of, read_docker_archive, read_layout
from drivetrain.images.files import ProjectFiles
from drivetrain.images.image import BASE_DIGEST, BASE_NAME, Image
from drivetrain.images.interpreter import server_version
from drivetrain.images.labels import FREEZE, frozen
from drivetrain.images.layer_maker import DirectOptions
from drivetrain.images.package import Package
from drivetrain.images.packages import lines_for_image, staging
from drivetrain.images.plan import Plan, container_settings, container_variables
from drivetrain.images.reference import parse_reference
from drivetrain.images.server_packages import constraints, requirements, server_files
from drivetrain.images.target import Target
from drivetrain.images.transfer import Transfers
from drivetrain.model.errors import Misuse, OutsideFailed, ProjectError
from drivetrain.settings import Settings

#: Variables that say where packages come from: uv's own, and what uv calls those of pip.
_INDEX_VARIABLES = {
    "UV_DEFAULT_INDEX": "UV_DEFAULT_INDEX",
    "UV_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "UV_INDEX": "UV_INDEX",
    "UV_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "UV_INSECURE_HOST": "UV_INSECURE_HOST",
    "PIP_TRUSTED_HOST": "UV_INSECURE_HOST",
    "UV_HTTP_TIMEOUT": "UV_HTTP_TIMEOUT",
}
#: Lists the packages of a directory, as ``pip freeze`` does.
_LISTING = """
import importlib.metadata, sys
for one in importlib.metadata.distributions(path=[sys.argv[1]]):
    print(f"{one.metadata['Name']}=={one.version}")
"""

_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")


@dataclass(frozen=True, kw_only=True)
class BuildSecret:
    """Something that commands of a build may see, and that never becomes part of the image.

    Attributes:
        identity: What the command calls it.
        source: A file that holds it.
        variable: Or a variable of the environment.
    """

    identity: str
    source: Path | None = None
    variable: str | None = None


def parse_secret(text: str) -> BuildSecret:
    """Read ``id=NAME,src=FILE`` or ``id=NAME,env=VARIABLE``.

    Raises:
        Misuse: It is neither.
    """
    parts = dict(part.partition("=")[::2] for part in text.split(","))
    source, variable = parts.get("src") or parts.get("source"), parts.get("env")
    identity = parts.get("id", "")
    if (
        not dockerfile.is_secret_id(identity)
        or bool(source) == bool(variable)
        or parts.keys() - {"id", "src", "source", "env", "type"}
    ):
        raise Misuse(f"--secret takes id=NAME,src=FILE or id=NAME,env=VARIABLE, not '{text}'")
    if source and not Path(source).is_file():
        raise Misuse(f"the secret '{identity}' is to be read from '{source}', where there is no file")
    return BuildSecret(identity=identity, source=Path(source).absolute() if source else None, variable=variable)


class EngineBuild:
    """One build.

    Args:
        plan: What to make.
        options: How.
        secrets: For the project's own commands.
        transfers: The store.
        engine: What builds.
        settings: The environment.
        progress: Told each step, and what the engine says.
    """

    def __init__(
        self,
        plan: Plan,
        options: DirectOptions,
        secrets: Sequence[BuildSecret],
        transfers: Transfers,
        engine: Engine,
        settings: Settings,
        progress: Progress,
    ) -> None:
        self._plan = plan
        self._options = options
        self._secrets = secrets
        self._transfers = transfers
        self._engine = engine
        self._settings = settings
        self._progress = progress

    def build(self, files: ProjectFiles, schema: Mapping[str, Any]) -> Built:
        """Make the image.

        Raises:
            ProjectError: A secret that a command wants is not given.
            OutsideFailed: The engine failed; its last lines are told.
        """
        self._check_secrets()
        base = self._base()
        python = base.python.version if base is not None else self._plan.python
        assert python is not None
        tag = f"localhost/drivetrain-build:{uuid.uuid4().hex[:12]}"
        with tempfile.TemporaryDirectory(prefix="drivetrain-build-") as temporary:
            context = Path(temporary) / "context"
            indexes = self._indexes()
            lay_out(context, self._plan, files, schema, python=python, uv=self._uv(), certificates=self._options.certificates)
            text = render_dockerfile(self._plan, self._rendering(python, has_index_secret=bool(indexes)))
            (context / "Dockerfile").write_text(text, encoding="utf-8")
            secrets = [*self._secret_flags(Path(temporary)), *_index_flags(Path(temporary), indexes)]
            self._progress.step(f"Building with {self._engine.name}")
            self._run(context, tag, secrets)
            try:
                packages = self._packages(tag, python)
                self._progress.step("Taking the image over")
                image = self._taken(tag, Path(temporary), base)
            finally:
                with contextlib.suppress(OutsideFailed):
                    self._release(tag)
        return Built(descriptor=self._finish(image, base, packages, python), packages=packages)

    def _base(self) -> Base | None:
        """The base as its registry has it; ``None`` for one that only the engine has."""
        try:
            return find_base(self._plan, parse_reference(self._plan.base), self._transfers, self._progress)
        except (ImageNotFound, OutsideFailed):
            if self._plan.python is None:
                raise ProjectError(
                    f"the base '{self._plan.base}' is in no registry, so that its Python cannot be told",
                    hint="set build.python_version to the Python that it has",
                ) from None
            return None

    def _rendering(self, python: str, *, has_index_secret: bool) -> Rendering:
        spec = self._plan.project.environment
        return Rendering(
            python=python,
            precompiles=self._options.precompiles,
            has_index_secret=has_index_secret,
            model_key=_key(spec.requirements, local_content(spec.requirements, spec.root)),
            server_key=_key([*requirements(), *constraints()]),
        )

    def _check_secrets(self) -> None:
        given = {secret.identity for secret in self._secrets}
        wanted = [identity for command in self._plan.project.environment.commands for identity, _ in command.secret_mounts]
        if missing := [identity for identity in wanted if identity not in given]:
            raise ProjectError(
                f"a command of the build wants the secret '{missing[0]}', which is not given",
                hint=f"--secret id={missing[0]},src=FILE",
            )

    def _uv(self) -> Path:
        """A uv for the image's platform: the one here, if it is; else fetched."""
        machine = platform_of(os.uname().machine)
        if os.uname().sysname == "Linux" and machine == self._plan.platform:
            return Path(uv_binary(self._settings))
        import importlib.metadata

        version = importlib.metadata.version("uv")
        kept = self._transfers.store.directory / "tools" / f"uv-{version}-{self._plan.platform.architecture}"
        if not kept.exists():
            target = Target(platform=self._plan.platform, python="3.12")
            with staging(self._transfers.store.directory, target, self._settings, self._progress) as stage:
                failure = stage.install([f"uv=={version}"], root=Path.cwd(), flags=("--only-binary", ":all:"))
                if failure is not None:
                    raise failure.explain("cannot fetch uv for the image")
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(stage.directory / "bin" / "uv", kept)
        return kept

    def _indexes(self) -> dict[str, str]:
        """Variables for uv in the build: those about indexes that can be reached from there, and those that addresses name."""
        environ = self._settings.environ
        found: dict[str, str] = {}
        for name, meaning in _INDEX_VARIABLES.items():
            words = [word for word in environ.get(name, "").split() if not word.startswith(("/", ".", "file:"))]
            if words:
                found.setdefault(meaning, " ".join(words))
        named = {name for line in self._plan.project.environment.requirements for name in _VARIABLE.findall(line)}
        return found | {name: environ[name] for name in sorted(named) if name in environ}

    def _secret_flags(self, directory: Path) -> Iterator[str]:
        for number, secret in enumerate(self._secrets):
            source = secret.source
            if source is None:
                value = self._settings.environ.get(secret.variable or "")
                if value is None:
                    raise Misuse(
                        f"the secret '{secret.identity}' is to be read from the variable '{secret.variable}', which is not set"
                    )
                source = directory / f"secret-{number}"
                _write_private(source, value)
            yield from ("--secret", f"id={secret.identity},src={source}")

    def _run(self, context: Path, tag: str, secrets: Sequence[str]) -> None:
        flags = ["build", "--tag", tag, "--file", str(context / "Dockerfile"), "--platform", str(self._plan.platform), *secrets]
        environ = dict(self._engine.environ)
        if self._engine.name == "docker":
            environ["DOCKER_BUILDKIT"] = "1"
            flags += ["--progress", "plain"]
        else:
            flags += ["--layers", "--format", "oci"]
            if parse_reference(self._plan.base).is_local or self._transfers.options.insecure:
                flags.append("--tls-verify=false")  # for the base; nothing else is fetched by the engine itself
        if not self._options.uses_cache:
            flags.append("--no-cache")
        command = self._engine.command(*flags, str(context))
        run_program(command, environ, progress=self._progress, what=self._engine.name)

    def _packages(self, tag: str, python: str) -> tuple[Package, ...]:
        """What the model's world holds; what the base has installed is not looked at."""
        words = (f"{layout.MODEL}/bin/python", "-I", "-c", _LISTING, layout.site_packages(layout.MODEL, python))
        if self._engine.name == "buildah":
            container = self._engine.call("from", "--pull-never", tag).split()[-1]
            try:
                text = self._engine.call("run", container, "--", *words)
            finally:
                self._engine.call("rm", container)
        else:
            text = self._engine.call("run", "--rm", "--network", "none", "--entrypoint", words[0], tag, *words[1:])
        pairs = (line.split("==") for line in text.splitlines() if line.count("==") == 1)
        found = (Package(name=name, version=version) for name, version in pairs)
        return tuple(sorted(found, key=lambda one: one.normal_name))

    def _taken(self, tag: str, directory: Path, base: Base | None) -> Image:
        store = self._transfers.store
        if self._engine.name == "docker":
            self._engine.call("save", "--output", str(directory / "image.tar"), tag)
            known = dict(zip(base.image.diff_ids, base.image.layers, strict=True)) if base is not None else {}
            return read_docker_archive(directory / "image.tar", store, compression=self._options.compression, known=known)
        self._engine.call("push", "--quiet", tag, f"oci:{directory / 'image'}:taken")
        return image_of(store, read_layout(directory / "image", store))

    def _release(self, tag: str) -> None:
        """Let go of what was built, but for the layers that the project's next build begins with.

        Docker keeps those by itself. The others forget them with the image, so the project's last one has a name there.
        """
        if self._engine.name == "docker":
            self._engine.call("rmi", "--force", tag)
            return
        project = f"{self._plan.project.root.resolve()} {self._plan.platform}"
        kept = f"localhost/drivetrain-cache:{hashlib.sha256(os.fsencode(project)).hexdigest()[:12]}"
        before = self._listed(f"reference={kept}")
        self._engine.call("tag", tag, kept)
        self._engine.call("rmi", "--force", tag)  # only the name
        for one in before & self._listed("dangling=true"):  # another project may have the same image
            self._engine.call("rmi", one)

    def _listed(self, condition: str) -> set[str]:
        """The engine's images of a kind."""
        return set(self._engine.call("images", "--quiet", "--no-trunc", "--filter", condition).split())

    def _finish(self, image: Image, base: Base | None, packages: Sequence[Package], python: str) -> Descriptor:
        if base is not None:
            image = _on_base(image, base.image)
            reference = parse_reference(self._plan.base)
            image = image.with_annotations({BASE_NAME: str(reference), BASE_DIGEST: base.digest})
        beneath = base.image if base is not None else image
        variables = container_variables(self._plan, beneath.variables, python=python)
        labels = {**beneath.labels, **self._plan.labels, FREEZE: frozen(packages)}
        settings = {
            **container_settings(self._plan),
            "Env": [f"{name}={value}" for name, value in variables.items()],
            "Labels": dict(sorted(labels.items())),
        }
        return self._transfers.store.add_image(image.with_settings(**settings))


def lay_out(
    context: Path,
    plan: Plan,
    files: ProjectFiles,
    schema: Mapping[str, Any],
    *,
    python: str,
    uv: Path,
    certificates: str | None,
) -> None:
    """Make the directory that the Dockerfile is built in. Large files are links where the disk allows it."""
    context.mkdir()
    (context / dockerfile.TOOLS).mkdir()
    _place(Entry(name="uv", source=uv, executable=True), context / dockerfile.TOOLS / "uv")
    spec = plan.project.environment
    for name in (dockerfile.MODEL_PACKAGES, dockerfile.SERVER_PACKAGES):
        (context / name).mkdir()
    _write_lines(context / dockerfile.MODEL_PACKAGES / dockerfile.REQUIREMENTS, lines_for_image(spec.requirements))
    _write_lines(context / dockerfile.SERVER_PACKAGES / dockerfile.REQUIREMENTS, requirements())
    _write_lines(context / dockerfile.SERVER_PACKAGES / dockerfile.CONSTRAINTS, constraints())
    if certificates is not None:
        (context / dockerfile.CERTIFICATES).write_text(certificates, encoding="utf-8")
    main = f"#!{layout.SERVER}/bin/python -I\nimport sys\n\nfrom drivetrain.cli.main import main\n\nsys.exit(main())\n"
    server = server_version(python)
    ours = [*server_files(server), file(layout.inner(f"{layout.SERVER}/bin/drivetrain"), main, executable=True)]
    _place_all(ours, context / dockerfile.SERVER_FILES, layout.SERVER)
    authoring = f"{layout.site_packages(layout.SERVER, server)}/drivetrain_worker/authoring\n"
    path = [file(layout.inner(f"{layout.site_packages(layout.MODEL, python)}/drivetrain.pth"), authoring)]
    _place_all(path, context / dockerfile.MODEL_FILES, layout.MODEL)
    described = file(layout.inner(f"{layout.SOURCE}/.cog/openapi_schema.json"), json.dumps(schema, separators=(",", ":")))
    _place_all([described, *files.code], context / dockerfile.PROJECT, layout.SOURCE)
    _place_all([entry for group in files.weights for entry in group], context / dockerfile.WEIGHTS, layout.SOURCE)


def _on_base(image: Image, base: Image) -> Image:
    """With the base's own layers below, as its registry has them, in place of the engine's copies of them."""
    count = len(base.diff_ids)
    if tuple(image.diff_ids[:count]) != tuple(base.diff_ids) or len(image.layers) != len(image.diff_ids):
        return image
    return msgspec.structs.replace(image, layers=(*base.layers, *image.layers[count:]))


def _index_flags(directory: Path, indexes: Mapping[str, str]) -> list[str]:
    if not indexes:
        return []
    path = directory / "indexes"
    lines = (f"{name}='{value}'\n" for name, value in indexes.items() if "'" not in value and "\n" not in value)
    _write_private(path, "".join(lines))
    return ["--secret", f"id={dockerfile.INDEX_SECRET},src={path}"]


def _key(lines: Iterable[str], content: Iterable[bytes] = ()) -> str:
    digest = hashlib.sha256("\n".join(lines).encode())
    for part in content:
        digest.update(part)
    return digest.hexdigest()[:16]


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _place_all(entries: Iterable[Entry], directory: Path, above: str) -> None:
    directory.mkdir()
    prefix = layout.inner(above) + "/"
    for entry in entries:
        _place(entry, directory / entry.name.removeprefix(prefix))


def _place(entry: Entry, target: Path) -> None:
    """Put an entry into the context, with the mode that it has in an image."""
    if entry.kind is Kind.DIRECTORY:
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if entry.kind is Kind.LINK:
        target.symlink_to(entry.target)
        return
    mode = 0o755 if entry.executable else 0o644
    if entry.source is None:
        target.write_bytes(entry.content)
    elif (entry.source.stat().st_mode & 0o777) == mode and _linked(entry.source, target):
        return
    else:
        shutil.copyfile(entry.source, target)
    target.chmod(mode)


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:
        return False
    return True
