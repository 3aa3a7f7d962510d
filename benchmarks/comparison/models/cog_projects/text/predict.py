from cog import BasePredictor


class Predictor(BasePredictor):
    async def predict(self, count: int) -> str:
        return "x" * count
