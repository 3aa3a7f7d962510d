"""Turns a photograph into something like an oil painting.

The generalised Kuwahara filter: around each pixel, eight overlapping sectors compete. Each offers its mean colour, and the
evener a sector is, the more it counts. So the colour never comes from across an edge: texture melts into strokes, and outlines
stay sharp.
"""

import tempfile
from typing import Iterator

import numpy as np
from cog import BasePredictor, Input, Path
from PIL import Image, ImageOps

SECTORS = 8
SHARPNESS = 8
LONGEST_SIDE = 2000


class Predictor(BasePredictor):
    def predict(
        self,
        image: Path = Input(description="Photograph to paint"),
        brush: int = Input(description="Radius of the strokes in pixels", default=7, ge=2, le=24),
    ) -> Path:
        photo = ImageOps.exif_transpose(Image.open(image)).convert("RGB")
        photo.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        print(f"Painting {photo.width} x {photo.height} pixels with a brush of {brush}")

        painted = paint(np.asarray(photo) / 255.0, brush)
        target = Path(tempfile.mkdtemp()) / "painting.png"
        Image.fromarray(np.uint8(np.round(painted * 255))).save(target)
        return target


def paint(picture: np.ndarray, radius: int) -> np.ndarray:
    """Filter a picture of height x width x 3 values from 0 to 1."""
    padded = np.pad(picture, ((radius, radius), (radius, radius), (0, 0)), mode="reflect")
    shape = padded.shape[:2]
    colour = np.fft.rfft2(padded, axes=(0, 1))
    square = np.fft.rfft2(padded**2, axes=(0, 1))

    total = np.zeros_like(padded)
    weights = np.zeros((*shape, 1))
    for number, sector in enumerate(sectors(radius), start=1):
        response = np.fft.rfft2(centred(sector, shape))[..., None]
        mean = np.fft.irfft2(colour * response, shape, axes=(0, 1))
        variance = np.fft.irfft2(square * response, shape, axes=(0, 1)) - mean**2
        unevenness = variance.clip(0).sum(axis=2, keepdims=True)
        weight = (1e-4 + unevenness) ** (-SHARPNESS / 2)
        total += weight * mean
        weights += weight
        print(f"Stroke {number} of {SECTORS}")

    return (total / weights)[radius:-radius, radius:-radius].clip(0, 1)


def sectors(radius: int) -> Iterator[np.ndarray]:
    """Eight soft wedges of a disc; each sums to one, and neighbours overlap."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    distance, angle = np.hypot(x, y), np.arctan2(y, x)
    disc = np.exp(-2 * (distance / radius) ** 2) * (distance <= radius)
    for index in range(SECTORS):
        turned = np.abs((angle - 2 * np.pi * index / SECTORS + np.pi) % (2 * np.pi) - np.pi)
        wedge = disc * (1 - turned * SECTORS / (2 * np.pi)).clip(0)
        wedge[radius, radius] = 1 / SECTORS
        yield wedge / wedge.sum()


def centred(kernel: np.ndarray, shape: "tuple[int, int]") -> np.ndarray:
    """The kernel in an array of that shape, its middle at the origin, as the Fourier transform wants it."""
    size = len(kernel)
    field = np.zeros(shape)
    field[:size, :size] = kernel
    return np.roll(field, (-(size // 2), -(size // 2)), axis=(0, 1))
