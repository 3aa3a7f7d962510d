"""Make an image by writing its layers: no daemon, no root, nothing of the project is run.

Layers that are dear and seldom change lie below those that are cheap and change often, since whoever unpacks an image unpacks a
layer anew when one below it has changed. So the order is packages, server, weights, code.

What a layer is made from is hashed before it is made; a layer that was made before from the same is taken from the store.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drivetrain import __version__
from drivetrain.environments.companions import COMPANIONS, SEEDS, missing_companions
from drivetrain.environments.environment import Progress
from drivetrain.environments.requirements import local_content, sources, unset_variables
from drivetrain.images import layout
from drivetrain.images.archive import EPOCH, Compression, Entry, directory, file, write_layer
from drivetrain.images.base import find_base
from drivetrain.images.descriptor import Descriptor, descriptor_from
from drivetrain.images.files import DENSE, ProjectFiles
from drivetrain.images.image import BASE_DIGEST, BASE_NAME, Image, Layer
from drivetrain.images.interpreter import BasePython
from drivetrain.images.labels import FREEZE, frozen
from drivetrain.images.packages import Distribution, Package, Staging, Target, grouped, staging
from drivetrain.images.plan import HOME, Plan, container_settings, container_variables
from drivetrain.images.reference import Reference
from drivetrain.images.server_packages import constraints, model_world, requirements, server_files, server_world
from drivetrain.images.transfer import Transfers
from drivetrain.model.errors import DrivetrainError, OutsideFailed, ProjectError
from drivetrain.settings import Settings

#: To be raised when layers of before must not be used any more.
_FORMAT = 1

#: What packing and compressing may need beside the content itself.
_SPARE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class DirectOptions:
    """How layers are made.

    Attributes:
        compression: Of the layers.
        uses_cache: Whether to take packages that were resolved before from the same requirements.
        precompiles: Whether to add bytecode, where there is an interpreter of the image's version here.
        strips: Whether to take debugging symbols out of libraries.
        created: When the image was made, for those who ask.
        certificates: Text of certificates to put in.
    """

    compression: Compression = Compression.GZIP
    uses_cache: bool = True
    precompiles: bool = True
    strips: bool = False
    created: str = EPOCH
    certificates: str | None = None


@dataclass(frozen=True, kw_only=True)
class Built:
    """An image that was made.

    Attributes:
        descriptor: Of its manifest, which is in the store.
        packages: What the model's world holds.
    """

    descriptor: Descriptor
    packages: tuple[Package, ...]


class DirectBuild:
    """One build.

    Args:
        plan: What to make.
        options: How.
        transfers: The store, and where the base is fetched from.
        settings: Where uv is.
        progress: Told each step.
    """

    def __init__(self, plan: Plan, options: DirectOptions, transfers: Transfers, settings: Settings, progress: Progress) -> None:
        self._plan = plan
        self._options = options
        self._transfers = transfers
        self._store = transfers.store
        self._settings = settings
        self._progress = progress

    def build(self, reference: Reference, files: ProjectFiles, schema: Mapping[str, Any]) -> Built:
        """Make the image.

        Args:
            reference: The base.
            files: Of the project.
            schema: The model's OpenAPI document.

        Raises:
            ProjectError: The project asks for what cannot be had.
            OutsideFailed: The registry, the package index or the disk failed.
        """
        self._check_space(files)
        found = find_base(self._plan, reference, self._transfers, self._progress)
        base, digest, python = found.image, found.digest, found.python
        layers, packages = self._packages(python)
        layers += self._server(python)
        layers += self._weights(files)
        layers.append(self._code(files, schema))
        return Built(descriptor=self._finish(base, reference, digest, python, layers, packages), packages=packages)

    def _finish(
        self,
        base: Image,
        reference: Reference,
        digest: str,
        python: BasePython,
        layers: Sequence[Layer],
        packages: Sequence[Package],
    ) -> Descriptor:
        plan = self._plan
        variables = container_variables(plan, base.variables, python=python.version)
        if libraries := _library_directories(packages, python.version):
            variables["LD_LIBRARY_PATH"] = ":".join(filter(None, (*libraries, variables.get("LD_LIBRARY_PATH"))))
        labels = {**base.labels, **plan.labels, FREEZE: frozen(packages)}
        settings = {
            **container_settings(plan),
            "Env": [f"{name}={value}" for name, value in variables.items()],
            "Labels": dict(sorted(labels.items())),
        }
        image = base.with_layers(layers, created=self._options.created).with_settings(**settings)
        return self._store.add_image(image.with_annotations({BASE_NAME: str(reference), BASE_DIGEST: digest}))

    def _check_space(self, files: ProjectFiles) -> None:
        """See at once whether the files of the project fit on the disk once more; they are the part that can be huge."""
        sizes = [(entry.source.stat().st_size, entry.source) for entry in _all_entries(files) if entry.source is not None]
        need = sum(size for size, _ in sizes)
        place = next(path for path in (self._store.directory, *self._store.directory.parents) if path.exists())
        free = shutil.disk_usage(place).free
        if need <= max(free - _SPARE_BYTES, 0) or need < _SPARE_BYTES:
            return
        if not all(self._has_layer(key) for key in (self._weight_key(group) for group in files.weights)):
            size, largest = max(sizes)
            raise OutsideFailed(
                f"the image needs up to {_readable(need)} on the disk of '{place}', which has {_readable(free)} left; "
                f"the largest file is '{largest}' with {_readable(size)}",
                hint="free some space, set DRIVETRAIN_CACHE_DIR to another disk, or keep the file out with .dockerignore",
            )

    # Packages

    def _packages(self, python: BasePython) -> tuple[list[Layer], tuple[Package, ...]]:
        """Layers of the model's world."""
        plan, spec = self._plan, self._plan.project.environment
        target = Target(platform=plan.platform, python=python.version, musl=python.musl)
        asked = [
            *(_FORMAT, "model", str(plan.platform), target.uv_platform, python.version, python.path, spec.requirements),
            *(plan.torch_backend, SEEDS, COMPANIONS, self._options.strips, self._options.precompiles),
            *(self._options.compression.value, plan.brings_python),
        ]
        key = _key(asked, local_content(spec.requirements, spec.root))
        if (known := self._known_packages(key)) is not None:
            return known
        if unset := unset_variables(spec.requirements, self._settings.environ):
            names = ", ".join(f"'{name}'" for name in unset)
            raise ProjectError(
                f"the requirements use environment variables that are not set: {names}", hint=f"export {unset[0]}=..."
            )
        with staging(self._store.directory, target, self._settings, self._progress) as stage:
            self._install(stage)
            stage.check_wheels()
            if self._options.strips:
                _strip(stage.directory)
            distributions = stage.distributions(layout.MODEL)
            layers = self._world_layers(python)
            layers += self._package_layers(distributions, "model")
            layers += self._bytecode(stage, layout.MODEL, "bytecode of the packages")
        packages = tuple(one.package for one in distributions)
        self._remember_packages(key, layers, packages)
        return layers, packages

    def _bytecode(self, stage: Staging, world: str, title: str) -> list[Layer]:
        """A layer of its own: what it holds depends on the interpreter that is here, what the others hold does not."""
        if not self._options.precompiles or not stage.directory.exists():
            return []
        self._progress.step("Compiling to bytecode")
        compiled = stage.compiled(world) if stage.precompile(world) else []
        return [self._write(compiled, title)] if compiled else []

    def _install(self, stage: Staging) -> None:
        """As in an environment on this host: what was always there, what the project names, what came along with Cog."""
        spec = self._plan.project.environment
        self._progress.step(f"Resolving {len(spec.requirements)} requirements for {self._plan.platform}")
        backend = self._plan.torch_backend
        flags = ("--torch-backend", backend) if backend is not None else ()
        variables = dict(spec.variables)
        failure = stage.install(
            (*spec.requirements, *SEEDS), root=spec.root, flags=flags, variables=variables, copies=self._options.strips
        )
        if failure is not None and failure.is_torch_index:
            self._progress.step("PyTorch's own index cannot be reached; taking its default builds, which may be large")
            failure = stage.install((*spec.requirements, *SEEDS), root=spec.root, variables=variables, copies=self._options.strips)
        if failure is not None:
            raise failure.explain("cannot bring the requirements into the image")
        installed = {one.package.normal_name: one.package.version for one in stage.distributions(layout.MODEL)}
        missing = missing_companions(installed)
        pins = [f"{name}=={version}" for name, version in installed.items()]
        together = stage.install((*sources(spec.requirements), *missing, *pins), root=spec.root, variables=variables)
        if together is not None and not (together.is_conflict or together.is_build):
            raise together.explain("cannot bring packages into the image")
        for one in missing if together is not None else ():
            stage.install((*sources(spec.requirements), one, *pins), root=spec.root, variables=variables)

    def _world_layers(self, python: BasePython) -> list[Layer]:
        entries = [*model_world(python.path, python.version), *server_world(python.path, python.version)]
        layers = [self._brought(python)] if self._plan.brings_python else []
        return [*layers, self._write(entries, "the environments of the model and of the server")]

    def _brought(self, python: BasePython) -> Layer:
        """The interpreter, where the base has none."""
        from drivetrain.images.archive import files_below
        from drivetrain.images.python_build import fetch_python

        with fetch_python(self._store.directory, python.version, self._plan.platform, self._settings, self._progress) as root:
            return self._write(files_below(root, layout.inner(layout.PYTHON)), f"Python {python.version}")

    def _server(self, python: BasePython) -> list[Layer]:
        """Layers of our own world."""
        target = Target(platform=self._plan.platform, python=python.version, musl=python.musl)
        lines, pins = requirements(), constraints()
        options = [self._options.compression.value, self._options.precompiles]
        key = _key([_FORMAT, "server", target.uv_platform, python.version, lines, pins, *options])
        known = self._known_packages(key)
        if known is None:
            self._progress.step("Fetching what the server needs")
            with staging(self._store.directory, target, self._settings, self._progress) as stage:
                failure = self._install_server(stage, lines, pins)
                if failure is not None:
                    raise failure
                stage.check_wheels()
                distributions = stage.distributions(layout.SERVER)
                layers = self._package_layers(distributions, "server")
                layers += self._bytecode(stage, layout.SERVER, "bytecode of the server's packages")
            packages = tuple(one.package for one in distributions)
            self._remember_packages(key, layers, packages)
            known = layers, packages
        return [*known[0], *self._own(target)]

    def _own(self, target: Target) -> list[Layer]:
        """drivetrain itself, and its bytecode."""
        entries = list(server_files(target.python))
        options = [str(target.platform), self._options.compression.value, self._options.precompiles, self._options.certificates]
        key = _key([_FORMAT, "own", __version__, *options], _content(entries))
        if (known := self._known_packages(key)) is not None:
            return known[0]
        layers = [self._write([*entries, *self._certificates()], f"drivetrain {__version__}")]
        with staging(self._store.directory, target, self._settings, self._progress) as stage:
            packages = layout.inner(layout.site_packages(layout.SERVER, target.python))
            for entry in entries:
                if entry.source is not None and entry.name.startswith(packages):
                    path = stage.directory / Path(entry.name).relative_to(packages)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(entry.source, path)
            layers += self._bytecode(stage, layout.SERVER, f"bytecode of drivetrain {__version__}")
        self._remember_packages(key, layers, ())
        return layers

    def _install_server(self, stage: Staging, lines: Sequence[str], pins: Sequence[str]) -> DrivetrainError | None:
        stage.directory.mkdir(parents=True)
        named = stage.directory.with_suffix(".constraints")
        named.write_text("".join(f"{pin}\n" for pin in pins), encoding="utf-8")
        try:
            failure = stage.install(lines, root=stage.directory, flags=("--constraints", str(named), "--only-binary", ":all:"))
        finally:
            named.unlink()
        return failure.explain("cannot bring the server into the image") if failure is not None else None

    def _certificates(self) -> list[Entry]:
        text = self._options.certificates
        return [file(layout.inner(layout.CERTIFICATES), text)] if text is not None else []

    def _package_layers(self, distributions: Iterable[Distribution], world: str) -> list[Layer]:
        """A layer for each group; one of the same packages, whatever project they were for, is the same and made once."""
        layers = []
        for name, members in grouped(distributions):
            entries = [entry for one in members for entry in one.entries]
            key = _key([_FORMAT, world, self._options.compression.value], (one.record for one in members))
            title = f"{'the server: ' if world == 'server' else ''}{name}: {_few([str(one.package) for one in members])}"
            layers.append(self._made_before(key) or self._note(key, self._write(entries, title)))
        return layers

    def _known_packages(self, key: str) -> tuple[list[Layer], tuple[Package, ...]] | None:
        known = self._store.recall(f"packages-{key}") if self._options.uses_cache else None
        if known is None:
            return None
        layers = [_layer_from(one) for one in known["layers"]]
        if not all(self._store.has(layer.descriptor) for layer in layers):
            return None
        return layers, tuple(Package(name=name, version=version) for name, version in known["packages"])

    def _remember_packages(self, key: str, layers: Sequence[Layer], packages: Sequence[Package]) -> None:
        named = [[one.name, one.version] for one in packages]
        self._store.remember(f"packages-{key}", {"layers": [_layer_json(one) for one in layers], "packages": named})

    # The project

    def _weights(self, files: ProjectFiles) -> list[Layer]:
        layers = []
        for group in files.weights:
            key = self._weight_key(group)
            layer = self._made_before(key)
            if layer is None:
                self._progress.step(f"Packing weights: {_few([Path(entry.name).name for entry in group])}")
                dense = len(group) == 1 and group[0].name.endswith(DENSE)
                compression = Compression.NONE if dense else self._options.compression
                title = f"weights: {_few([Path(entry.name).name for entry in group])}"
                layer = self._note(key, write_layer(group, self._store, compression=compression, made_by=title))
            layers.append(layer)
        return layers

    def _weight_key(self, group: Sequence[Entry]) -> str:
        """By size and times, which the kernel keeps: weights are not read again to see whether they have changed."""
        stamps = []
        for entry in group:
            status = entry.source.stat() if entry.source is not None else None
            stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev) if status else ()
            stamps.append([entry.name, entry.executable, entry.owner, *stamp])
        return _key([_FORMAT, "weights", self._options.compression.value, stamps])

    def _code(self, files: ProjectFiles, schema: Mapping[str, Any]) -> Layer:
        owner = self._plan.user or 0
        own = [
            directory(layout.inner(layout.SOURCE), owner=owner),
            file(layout.inner(f"{layout.SOURCE}/.cog/openapi_schema.json"), json.dumps(schema, separators=(",", ":"))),
        ]
        if owner:
            own.append(directory(layout.inner(HOME), owner=owner))
        return self._write([*own, *files.code], "the project")

    # Layers

    def _write(self, entries: Iterable[Entry], title: str) -> Layer:
        return write_layer(entries, self._store, compression=self._options.compression, made_by=title)

    def _made_before(self, key: str) -> Layer | None:
        known = self._store.recall(f"layer-{key}")
        layer = _layer_from(known) if known is not None else None
        return layer if layer is not None and self._store.has(layer.descriptor) else None

    def _has_layer(self, key: str) -> bool:
        return self._made_before(key) is not None

    def _note(self, key: str, layer: Layer) -> Layer:
        self._store.remember(f"layer-{key}", _layer_json(layer))
        return layer


def _all_entries(files: ProjectFiles) -> Iterable[Entry]:
    yield from files.code
    for group in files.weights:
        yield from group


def _content(entries: Iterable[Entry]) -> Iterable[bytes]:
    for entry in sorted(entries, key=lambda one: one.name):
        yield f"\0{entry.name}\0{entry.executable}\0{entry.target}\0".encode()
        yield entry.source.read_bytes() if entry.source is not None else entry.content


def _key(asked: Sequence[Any], content: Iterable[bytes] = ()) -> str:
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode())
    for part in content:
        digest.update(part)
    return digest.hexdigest()[:40]


def _layer_json(layer: Layer) -> dict[str, Any]:
    return {"descriptor": layer.descriptor.to_json(), "diff_id": layer.diff_id, "made_by": layer.made_by}


def _layer_from(document: Mapping[str, Any]) -> Layer:
    return Layer(descriptor=descriptor_from(document["descriptor"]), diff_id=document["diff_id"], made_by=document["made_by"])


def _library_directories(packages: Iterable[Package], python: str) -> list[str]:
    """Where CUDA's libraries are in the wheels that bring them, for what does not look there by itself."""
    root = f"{layout.site_packages(layout.MODEL, python)}/nvidia"
    names = {
        "nvidia-cublas": "cublas",
        "nvidia-cuda-cupti": "cuda_cupti",
        "nvidia-cuda-nvrtc": "cuda_nvrtc",
        "nvidia-cuda-runtime": "cuda_runtime",
        "nvidia-cudnn": "cudnn",
        "nvidia-cufft": "cufft",
        "nvidia-curand": "curand",
        "nvidia-cusolver": "cusolver",
        "nvidia-cusparse": "cusparse",
        "nvidia-nccl": "nccl",
        "nvidia-nvjitlink": "nvjitlink",
    }
    found = (names.get(package.normal_name.rpartition("-cu")[0]) for package in packages)
    return sorted(f"{root}/{name}/lib" for name in found if name)


def _strip(root: Path) -> None:
    """Take debugging symbols out of libraries.

    Raises:
        OutsideFailed: There is no ``strip`` here.
    """
    import subprocess

    program = shutil.which("strip")
    if program is None:
        raise OutsideFailed("there is no 'strip' on this machine", hint="install binutils, or leave out --strip")
    for library in sorted(root.rglob("*.so*")):
        if library.is_file() and not library.is_symlink():
            # Libraries of another kind of machine, and files that are none, stay as they are.
            subprocess.run([program, "--strip-debug", str(library)], capture_output=True, check=False)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"


def _readable(size: int) -> str:
    amount = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
