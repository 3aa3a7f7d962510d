"""Which CUDA, and which of NVIDIA's images; pure, and one table for each choice.

PyTorch, and TensorFlow and JAX when they are asked to, bring CUDA's libraries in their own wheels. A project that uses one of them
needs nothing of an NVIDIA image, which would hold the same libraries once more: it is built on the small Python image, and the host
puts the driver into the container. Only what looks for CUDA in the system gets an image that has it, and one without compilers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from drivetrain.model.errors import ProjectError
from drivetrain.model.project import EnvironmentSpec


class CudaImage(msgspec.Struct, frozen=True, kw_only=True):
    """One of NVIDIA's images that hold CUDA's and cuDNN's libraries.

    Attributes:
        cuda: Full version of CUDA.
        cudnn: Major version of cuDNN in it.
        ubuntu: What it is built on.
    """

    cuda: str
    cudnn: str
    ubuntu: str

    @property
    def name(self) -> str:
        """Its name in Docker's registry. From CUDA 12.4 on, the name does not say the version of cuDNN."""
        cudnn = "cudnn" if _numbers(self.cuda) >= (12, 4) else f"cudnn{self.cudnn}"
        return f"nvidia/cuda:{self.cuda}-{cudnn}-runtime-ubuntu{self.ubuntu}"


#: The newest patch of each version of CUDA.
CUDA_IMAGES: Sequence[CudaImage] = tuple(
    CudaImage(cuda=cuda, cudnn=cudnn, ubuntu=ubuntu)
    for cuda, cudnn, ubuntu in (
        ("11.0.3", "8", "20.04"),
        ("11.1.1", "8", "20.04"),
        ("11.2.2", "8", "20.04"),
        ("11.3.1", "8", "20.04"),
        ("11.4.3", "8", "20.04"),
        ("11.5.2", "8", "20.04"),
        ("11.6.2", "8", "20.04"),
        ("11.7.1", "8", "22.04"),
        ("11.8.0", "8", "22.04"),
        ("12.0.1", "8", "22.04"),
        ("12.1.1", "8", "22.04"),
        ("12.2.2", "8", "22.04"),
        ("12.3.2", "9", "22.04"),
        ("12.4.1", "9", "22.04"),
        ("12.5.1", "9", "22.04"),
        ("12.6.3", "9", "22.04"),
        ("12.8.1", "9", "22.04"),
        ("12.9.1", "9", "22.04"),
        ("13.0.1", "9", "22.04"),
    )
)

#: For each release of TensorFlow, the CUDA that its wheels were built for and look for in the system.
TENSORFLOW_CUDA: Mapping[str, str] = {
    "2.4": "11.0",
    **dict.fromkeys(("2.5", "2.6", "2.7", "2.8", "2.9", "2.10", "2.11"), "11.2"),
    **dict.fromkeys(("2.12", "2.13", "2.14"), "11.8"),
    "2.15": "12.2",
    **dict.fromkeys(("2.16", "2.17"), "12.3"),
    **dict.fromkeys(("2.18", "2.19", "2.20", "2.21"), "12.5"),
}

#: Where a project says neither what it uses nor which CUDA it wants; as in Cog.
DEFAULT_CUDA = "11.8"

#: What a wheel of PyTorch of an unknown release is taken for, where the builder's own driver says nothing about the image's host.
DEFAULT_TORCH_BACKEND = "cu128"

_BRINGS_LIBRARIES = re.compile(
    r"^(?:torch|torchvision|torchaudio|vllm|xformers|(?:tensorflow|jax)\[[^\]]*cuda[^\]]*\]|nvidia-[\w-]+-cu\d+)(?![\w-])",
    re.IGNORECASE,
)
_TENSORFLOW = re.compile(r"^tensorflow(?:-gpu)?\s*==\s*([0-9]+\.[0-9]+)", re.IGNORECASE)


def brings_libraries(requirements: Sequence[str]) -> bool:
    """Whether the packages bring CUDA's libraries themselves."""
    return any(_BRINGS_LIBRARIES.match(line) for line in requirements)


def tensorflow_cuda(requirements: Sequence[str]) -> str | None:
    """The CUDA that a pinned TensorFlow looks for."""
    pins = (match[1] for line in requirements if (match := _TENSORFLOW.match(line)))
    return next((TENSORFLOW_CUDA[pin] for pin in pins if pin in TENSORFLOW_CUDA), None)


def choose_cuda_image(spec: EnvironmentSpec) -> CudaImage:
    """The NVIDIA image for a project.

    Raises:
        ProjectError: There is none with what it asks for; names those that there are.
    """
    wanted = spec.cuda or tensorflow_cuda(spec.requirements) or DEFAULT_CUDA
    fitting = [image for image in CUDA_IMAGES if _is_version(image.cuda, wanted)]
    if not fitting:
        there = ", ".join(".".join(image.cuda.split(".")[:2]) for image in CUDA_IMAGES)
        raise ProjectError(
            f"there is no image with CUDA {wanted}", hint=f"set build.cuda to one of {there}, or name a base with --base-image"
        )
    if spec.cudnn is None:
        return fitting[-1]
    major = spec.cudnn.partition(".")[0]
    having = [image for image in fitting if image.cudnn == major]
    if not having:
        raise ProjectError(
            f"there is no image with CUDA {wanted} and cuDNN {spec.cudnn}",
            hint=f"with CUDA {wanted} there is cuDNN {fitting[-1].cudnn}; change build.cudnn, or name a base with --base-image",
        )
    return having[-1]


def _is_version(version: str, wanted: str) -> bool:
    """Whether a version is the wanted one, or a patch of it."""
    minor = wanted.split(".")[:2]
    return version.split(".")[: len(minor)] == minor


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))[:2]
