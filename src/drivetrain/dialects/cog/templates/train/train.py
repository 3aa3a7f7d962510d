import json
import tempfile
from collections import defaultdict

from cog import Input, Path


def train(
    text: Path = Input(description="A text to learn from"),
    memory: int = Input(description="How many letters decide on the next one", default=4, ge=1, le=12),
) -> Path:
    """Learn which letters follow which, and return the weights as a file."""
    letters = text.read_text(encoding="utf-8")
    followers = defaultdict(list)
    for index in range(len(letters) - memory):
        followers[letters[index : index + memory]].append(letters[index + memory])
    print(f"Learnt what follows {len(followers)} groups of {memory} letters")

    target = Path(tempfile.mkdtemp()) / "weights.json"
    target.write_text(json.dumps({"memory": memory, "followers": followers}), encoding="utf-8")
    return target
