"""Replicate's names for hardware, and what they mean on a machine of one's own: how many GPUs, of whatever kind there are."""

from __future__ import annotations

import re

from drivetrain.gateways.replicate.bodies import InvalidBody
from drivetrain.platform.app import Resources

_CPU = re.compile(r"cpu(-[a-z0-9-]+)?", re.ASCII)
_GPU = re.compile(r"gpu(-(?P<count>[1-9]\d?)x)?(-[a-z0-9-]+)?", re.ASCII)


def read_sku(sku: str, field: str = "hardware") -> Resources:
    """What a runner on such hardware holds.

    Existing programs name what Replicate rents out, such as ``gpu-t4`` or ``gpu-8x-a40-large``: the kind is not ours to choose.

    Raises:
        InvalidBody: It is no name of hardware.
    """
    if _CPU.fullmatch(sku):
        return Resources()
    match = _GPU.fullmatch(sku)
    if match is None:
        raise InvalidBody(field, f"'{sku[:100]}' is no hardware; there is 'cpu', 'gpu', 'gpu-2x' and so on")
    return Resources(gpus=int(match["count"] or 1))


def sku_of(resources: Resources) -> str:
    """The name of what a runner holds."""
    if not resources.gpus:
        return "cpu"
    return "gpu" if resources.gpus == 1 else f"gpu-{resources.gpus}x"


def offered(gpus: int) -> list[dict[str, str]]:
    """The hardware of a machine with so many GPUs."""
    skus = [{"sku": "cpu", "name": "CPU"}]
    for count in range(1, gpus + 1):
        name = "GPU" if count == 1 else f"{count}x GPU"
        skus.append({"sku": sku_of(Resources(gpus=count)), "name": name})
    return skus
