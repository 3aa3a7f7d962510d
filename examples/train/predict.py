"""Says which digit a picture shows, with the weights that train.py has learnt."""

from typing import Optional

import numpy as np
from cog import BaseModel, BasePredictor, Input, Path
from PIL import Image, ImageOps

from train import INK, probabilities


class Output(BaseModel):
    digit: int
    confidence: float


class Predictor(BasePredictor):
    def setup(self, weights: Optional[str] = None) -> None:
        file = Path(weights or "weights.npz")
        if not file.exists():
            raise FileNotFoundError(f"there is no '{file}' yet: run 'drivetrain train' first")
        with np.load(file) as arrays:
            self.weights = dict(arrays)

    def predict(self, image: Path = Input(description="A dark digit on a light ground")) -> Output:
        likely = probabilities(self.weights, eight_by_eight(Image.open(image)))[0]
        return Output(digit=int(likely.argmax()), confidence=round(float(likely.max()), 3))


def eight_by_eight(picture: Image.Image) -> np.ndarray:
    """The picture as the training pictures are: the digit fills 8 x 8 pixels, ink counted from 0 to 1."""
    ink = ImageOps.autocontrast(ImageOps.invert(picture.convert("L")))
    digit = ink.crop(ink.point(lambda value: 255 if value > 64 else 0).getbbox())
    small = ImageOps.pad(digit, (64, 64)).resize((8, 8), Image.Resampling.BOX)
    return np.round(np.asarray(small) / 255 * INK).reshape(1, -1) / INK
