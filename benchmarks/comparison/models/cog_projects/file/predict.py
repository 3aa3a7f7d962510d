import itertools

from cog import BasePredictor, Path


class Predictor(BasePredictor):
    def setup(self) -> None:
        self.content = bytes(range(256)) * (10 * 1024 * 1024 // 256)
        self.numbers = itertools.cycle(range(16))  # more than there are clients: nobody's file is written while it is read

    async def predict(self, name: str) -> Path:
        path = Path(f"/tmp/{name}-{next(self.numbers)}.bin")
        path.write_bytes(self.content)
        return path
