import time

from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self, text: str) -> str:
        until = time.thread_time() + 0.005  # processor time, not the clock's
        while time.thread_time() < until:
            pass
        return text[::-1]
