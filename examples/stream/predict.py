"""Writes text word by word, in the manner of the Python manual.

The smallest language model there is: it knows which words have followed each pair of words, and draws one of them. It learns
during set-up, from the manual that comes with every Python.
"""

import random
import time
from collections import defaultdict
from pydoc_data.topics import topics
from typing import Optional

from cog import BasePredictor, ConcatenateIterator, Input


class Predictor(BasePredictor):
    def setup(self) -> None:
        words = [word for word in " ".join(topics.values()).split() if word.strip("|+-=*.")]
        self.openings = [pair for pair in zip(words, words[1:]) if pair[0].istitle()]
        self.followers = defaultdict(list)
        for first, second, third in zip(words, words[1:], words[2:]):
            self.followers[first, second].append(third)
        print(f"Learnt from {len(words)} words")

    def predict(
        self,
        prompt: str = Input(description="Two or more words to go on from; empty for a random pair", default=""),
        words: int = Input(description="How many words to write", default=60, ge=1, le=1000),
        pause: float = Input(description="Seconds between two words", default=0.03, ge=0, le=1),
        seed: Optional[int] = Input(description="The same seed gives the same text", default=None),
    ) -> ConcatenateIterator[str]:
        chance = random.Random(seed)
        pair = tuple(prompt.split()[-2:])
        if pair not in self.followers:
            pair = chance.choice(self.openings)
            yield " ".join(pair)
        for _ in range(words):
            if pair not in self.followers:
                return
            word = chance.choice(self.followers[pair])
            yield " " + word
            pair = (pair[1], word)
            time.sleep(pause)
