import json
import random
from typing import Optional

from cog import BasePredictor, Input, Path


class Predictor(BasePredictor):
    def setup(self, weights: Optional[str] = None) -> None:
        """Load the weights that train.py returned; COG_WEIGHTS may name another file."""
        file = Path(weights or "weights.json")
        if not file.exists():
            raise FileNotFoundError(f"there is no '{file}' yet: run a training first")
        self.model = json.loads(file.read_text(encoding="utf-8"))

    def predict(
        self,
        length: int = Input(description="How many letters to write", default=200, ge=1, le=5000),
        seed: Optional[int] = Input(description="The same seed gives the same text", default=None),
    ) -> str:
        """Answer one prediction."""
        chance = random.Random(seed)
        followers, memory = self.model["followers"], self.model["memory"]
        written = chance.choice(list(followers))
        while len(written) < length:
            context = written[-memory:]
            written += chance.choice(followers.get(context) or [chance.choice(list(followers))])
        return written
