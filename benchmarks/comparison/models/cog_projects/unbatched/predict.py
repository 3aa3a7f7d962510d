import time

from cog import BasePredictor


class Predictor(BasePredictor):
    """What is in ``batch``, given one input at a time."""

    def predict(self, text: str) -> str:
        time.sleep(0.01)
        return text[::-1]
