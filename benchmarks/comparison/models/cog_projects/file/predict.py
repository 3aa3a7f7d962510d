from cog import BasePredictor, Path


class Predictor(BasePredictor):
    def setup(self) -> None:
        self.content = bytes(range(256)) * (10 * 1024 * 1024 // 256)

    async def predict(self, name: str) -> Path:
        path = Path(f"/tmp/{name}.bin")
        path.write_bytes(self.content)
        return path
