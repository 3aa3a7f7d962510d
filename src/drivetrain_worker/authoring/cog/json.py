"""Where older releases kept the encoding of outputs; some projects call it on results of their own."""

from __future__ import annotations

import os
import pathlib
from datetime import datetime
from enum import Enum
from types import GeneratorType
from typing import Any


def make_encodeable(obj: Any) -> Any:
    """Turn models into dictionaries, all sequences into lists, and numpy values into Python's; files stay paths."""
    dump = getattr(obj, "model_dump", None) or (getattr(obj, "dict", None) if hasattr(obj, "__fields__") else None)
    if dump is not None and not isinstance(obj, type):
        return make_encodeable(dump())
    if isinstance(obj, dict):
        return {key: make_encodeable(value) for key, value in obj.items()}
    if isinstance(obj, (list, set, frozenset, tuple, GeneratorType)):
        return [make_encodeable(item) for item in obj]
    if isinstance(obj, Enum):
        return obj.value
    if isinstance(obj, datetime):
        return obj.isoformat()
    if isinstance(obj, os.PathLike):
        return pathlib.Path(obj)
    if type(obj).__module__.split(".")[0] == "numpy" and hasattr(obj, "tolist"):
        return obj.tolist()
    return obj
