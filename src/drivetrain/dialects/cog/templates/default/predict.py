from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def setup(self) -> None:
        """Load the model; this happens once, before the first prediction."""
        self.greeting = "Hello"

    def predict(
        self,
        text: str = Input(description="Whom to greet"),
        repeat: int = Input(description="How many times", default=1, ge=1, le=10),
    ) -> str:
        """Answer one prediction."""
        return ", ".join([f"{self.greeting} {text}"] * repeat)
