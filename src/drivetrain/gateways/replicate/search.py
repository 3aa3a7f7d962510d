"""Finding models by words."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from drivetrain.gateways.replicate.rendering import labels_of
from drivetrain.platform.app import App

_WORD = re.compile(r"\w+")

#: How much a word counts, by where it is found.
_NAME, _START_OF_NAME, _DESCRIPTION, _README = 8, 4, 2, 1


def find_models(apps: Sequence[App], query: str) -> list[tuple[App, float]]:
    """The apps in which every word of a query is found, best first, each with how well it fits, from 0 to 1."""
    words = set(map(str.lower, _WORD.findall(query)))
    if not words:
        return []
    scored = [(app, _score(app, words)) for app in apps]
    found = [(app, score) for app, score in scored if score > 0]
    return sorted(found, key=lambda each: (-each[1], each[0].name))


def read_query(body: bytes) -> str:
    """The text of a search: as it is (Python), or as a JSON string, whatever its type is said to be (JavaScript, Python 2)."""
    text = body.decode("utf-8", "replace").strip()
    if text.startswith('"'):
        try:
            value = json.loads(text)
        except ValueError:
            return text
        return value if isinstance(value, str) else text
    return text


def _score(app: App, words: set[str]) -> float:
    names = set(map(str.lower, _WORD.findall(str(app.name).replace("-", " ").replace("_", " "))))
    description = app.description.lower()
    readme = str(labels_of(app.labels).get("readme") or "").lower()
    total = 0.0
    for word in words:
        if word in names or word in (app.name.name, app.name.owner):
            best = _NAME
        elif any(name.startswith(word) for name in names):
            best = _START_OF_NAME
        elif word in description:
            best = _DESCRIPTION
        elif word in readme:
            best = _README
        else:
            return 0
        total += best
    return total / (_NAME * len(words))
