import asyncio
from collections.abc import AsyncIterator

from cog import BasePredictor, streaming


class Predictor(BasePredictor):
    @streaming
    async def predict(self, count: int) -> AsyncIterator[str]:
        for number in range(count):
            await asyncio.sleep(0)
            yield f"token{number} "
