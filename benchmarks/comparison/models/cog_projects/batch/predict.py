import time

from cog import BasePredictor


class Predictor(BasePredictor):
    """Like a model on a GPU: a call costs the same whether it is given one input or sixteen."""

    def predict(self, text: str) -> str:
        time.sleep(0.01)
        return text[::-1]

    def predict_batch(self, inputs: list) -> list:
        time.sleep(0.01)
        return [each["text"][::-1] for each in inputs]
