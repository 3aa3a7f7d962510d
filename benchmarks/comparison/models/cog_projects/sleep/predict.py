import asyncio

from cog import BasePredictor


class Predictor(BasePredictor):
    async def predict(self, text: str) -> str:
        await asyncio.sleep(0.01)
        return text[::-1]
