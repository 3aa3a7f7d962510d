import time

from cog import BasePredictor, ConcatenateIterator, Input


class Predictor(BasePredictor):
    def setup(self) -> None:
        """Load the model; this happens once, before the first prediction."""
        self.verses = ["Row,", "row,", "row", "your", "boat,", "gently", "down", "the", "stream."]

    def predict(
        self,
        words: int = Input(description="How many words to write", default=18, ge=1, le=1000),
        pause: float = Input(description="Seconds between two words", default=0.1, ge=0, le=2),
    ) -> ConcatenateIterator[str]:
        """Answer one prediction piece by piece; whoever asked sees each piece at once."""
        for index in range(words):
            yield self.verses[index % len(self.verses)] + " "
            time.sleep(pause)
