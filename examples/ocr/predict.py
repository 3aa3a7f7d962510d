"""Reads the text off a picture."""

from typing import List

import numpy as np
from cog import BaseModel, BasePredictor, Input, Path
from PIL import Image, ImageOps
from rapidocr import RapidOCR

# The networks were trained on larger letters than a small scan has.
SMALLEST_LONG_SIDE = 1000


class Line(BaseModel):
    text: str
    confidence: float
    corners: List[List[int]]


class Output(BaseModel):
    text: str
    lines: List[Line]


class Predictor(BasePredictor):
    def setup(self) -> None:
        self.reader = RapidOCR(params={"Global.log_level": "warning"})

    def predict(
        self,
        image: Path = Input(description="Photograph or scan of printed text"),
        min_confidence: float = Input(description="Leave out lines read with less", default=0.5, ge=0, le=1),
    ) -> Output:
        picture = ImageOps.exif_transpose(Image.open(image)).convert("RGB")
        scale = max(1.0, SMALLEST_LONG_SIDE / max(picture.size))
        print(f"Looking for text in {picture.width} x {picture.height} pixels")

        lines = [line for line in self._read(picture, scale) if line.confidence >= min_confidence]
        print(f"Read {len(lines)} lines")
        return Output(text="\n".join(line.text for line in lines), lines=lines)

    def _read(self, picture: Image.Image, scale: float) -> List[Line]:
        enlarged = ImageOps.scale(picture, scale, Image.Resampling.LANCZOS)
        blue_first = np.asarray(enlarged)[..., ::-1]
        found = self.reader(blue_first, use_cls=False)  # lines stand upright; the check for that errs on slanted ones
        if not found.txts:
            return []
        return [
            Line(
                text=text,
                confidence=round(float(score), 3),
                corners=[[round(x / scale), round(y / scale)] for x, y in box.tolist()],
            )
            for text, score, box in zip(found.txts, found.scores, found.boxes)
        ]
