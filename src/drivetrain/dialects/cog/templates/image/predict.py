import tempfile

from cog import BasePredictor, Input, Path
from PIL import Image, ImageFilter, ImageOps


class Predictor(BasePredictor):
    def predict(
        self,
        image: Path = Input(description="A picture"),
        blur: float = Input(description="Radius in pixels", default=4.0, ge=0, le=100),
        greyscale: bool = Input(description="Whether to take the colours out", default=False),
    ) -> Path:
        """Answer one prediction with a new picture."""
        picture = ImageOps.exif_transpose(Image.open(image)).convert("RGB")
        picture = picture.filter(ImageFilter.GaussianBlur(blur))
        if greyscale:
            picture = ImageOps.grayscale(picture)

        target = Path(tempfile.mkdtemp()) / "output.png"
        picture.save(target)
        return target
