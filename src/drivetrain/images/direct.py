"""Make an image by writing its layers: no daemon, no root, nothing of the project is run.

Layers that are dear and seldom change lie below those that are cheap and change often, since whoever unpacks an image unpacks a
layer anew when one below it has changed. So the order is packages, server, weights, code.

They do not depend on each other, so they are made at the same time: while packages of one are fetched, others are packed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from drivetrain.environments.environment import Progress
from drivetrain.images import layout
from drivetrain.images.base import Base, find_base
from drivetrain.images.descriptor import Descriptor
from drivetrain.images.files import ProjectFiles
from drivetrain.images.image import BASE_DIGEST, BASE_NAME, Layer
from drivetrain.images.interpreter import server_python
from drivetrain.images.labels import FREEZE, frozen
from drivetrain.images.layer_maker import DirectOptions, LayerMaker
from drivetrain.images.model_layers import ModelLayers
from drivetrain.images.package import Package
from drivetrain.images.plan import Plan, container_settings, container_variables
from drivetrain.images.project_layers import ProjectLayers
from drivetrain.images.reference import Reference
from drivetrain.images.server_layers import ServerLayers
from drivetrain.images.target import Target
from drivetrain.images.transfer import Transfers
from drivetrain.settings import Settings


class Built(msgspec.Struct, frozen=True, kw_only=True):
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
        maker = LayerMaker(self._transfers.store, self._options)
        project = ProjectLayers(files, maker, self._progress, owner=self._plan.user or 0)
        project.check_space()
        with _beside(maker) as pool:
            weight_layers = pool.submit(project.weights)
            base = find_base(self._plan, reference, self._transfers, self._progress)
            server = server_python(base.python)
            target = Target(platform=self._plan.platform, python=server.version, musl=server.musl)
            server_layers = pool.submit(ServerLayers(target, maker, self._settings, _StepsOnly(self._progress)).layers)
            model = ModelLayers(self._plan, (base.python, server), maker, self._settings, self._progress).world()
            layers = [*model.layers, *server_layers.result(), *weight_layers.result(), project.code(schema)]
        packages = tuple(model.packages)
        return Built(descriptor=self._finish(base, reference, layers, packages), packages=packages)

    def _finish(self, base: Base, reference: Reference, layers: Sequence[Layer], packages: Sequence[Package]) -> Descriptor:
        plan, beneath = self._plan, base.image
        variables = container_variables(plan, beneath.variables, python=base.python.version)
        if libraries := _library_directories(packages, base.python.version):
            variables["LD_LIBRARY_PATH"] = ":".join(filter(None, (*libraries, variables.get("LD_LIBRARY_PATH"))))
        labels = {**beneath.labels, **plan.labels, FREEZE: frozen(packages)}
        settings = {
            **container_settings(plan),
            "Env": [f"{name}={value}" for name, value in variables.items()],
            "Labels": dict(sorted(labels.items())),
        }
        image = beneath.with_layers(layers, created=self._options.created).with_settings(**settings)
        annotated = image.with_annotations({BASE_NAME: str(reference), BASE_DIGEST: base.digest})
        return self._transfers.store.add_image(annotated)


@contextlib.contextmanager
def _beside(maker: LayerMaker) -> Iterator[ThreadPoolExecutor]:
    """Threads for what is done at the same time; they end early when the block fails."""
    with ThreadPoolExecutor(2, thread_name_prefix="layers") as pool:
        try:
            yield pool
        except BaseException:
            maker.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _StepsOnly:
    """Tells the steps of what is done beside the rest, and not its details, which would be taken for those of another step."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def step(self, text: str) -> None:
        self._progress.step(text)

    def detail(self, line: str) -> None:
        """Not told."""


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
