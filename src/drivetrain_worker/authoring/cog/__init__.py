"""The module that authors of Cog models import, in drivetrain's own version.

It offers the names of both generations of Cog, and is light: a name's module is imported when the name is first asked for, and
pydantic only for classes that use it (see ``cog.model``).
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for true; importing typing would cost a millisecond or two
if TYPE_CHECKING:
    from cog._decorators import concurrent, streaming
    from cog._opaque import Opaque
    from cog._scope import current_scope, emit_metric
    from cog.errors import CancelationException
    from cog.input import FieldInfo, Input
    from cog.model import BaseModel
    from cog.predictor import BasePredictor, BaseRunner
    from cog.types import (
        AsyncConcatenateIterator,
        ConcatenateIterator,
        ExperimentalFeatureWarning,
        File,
        Path,
        Secret,
        URLFile,
        URLPath,
    )

#: The release of Cog whose authoring interface this module offers; some projects compare it.
__version__ = "0.23.1"

_HOMES = {
    "AsyncConcatenateIterator": "cog.types",
    "BaseModel": "cog.model",
    "BasePredictor": "cog.predictor",
    "BaseRunner": "cog.predictor",
    "CancelationException": "cog.errors",
    "ConcatenateIterator": "cog.types",
    "ExperimentalFeatureWarning": "cog.types",
    "FieldInfo": "cog.input",
    "File": "cog.types",
    "Input": "cog.input",
    "Opaque": "cog._opaque",
    "Path": "cog.types",
    "Secret": "cog.types",
    "URLFile": "cog.types",
    "URLPath": "cog.types",
    "concurrent": "cog._decorators",
    "current_scope": "cog._scope",
    "emit_metric": "cog._scope",
    "streaming": "cog._decorators",
}

__all__ = [
    "AsyncConcatenateIterator",
    "BaseModel",
    "BasePredictor",
    "BaseRunner",
    "CancelationException",
    "ConcatenateIterator",
    "ExperimentalFeatureWarning",
    "FieldInfo",
    "File",
    "Input",
    "Opaque",
    "Path",
    "Secret",
    "URLFile",
    "URLPath",
    "__version__",
    "concurrent",
    "current_scope",
    "emit_metric",
    "streaming",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if name in ("Model", "Predictor", "input"):
        raise AttributeError(
            "'cog.%s' is of Cog before 0.1; derive from cog.BasePredictor, and give predict() annotated parameters instead "
            "of @cog.input(...)" % name
        )
    if home is None:
        raise AttributeError("module 'cog' has no attribute %r" % name)
    from importlib import import_module

    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
