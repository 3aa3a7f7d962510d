"""An exception of the author's code, told in words: one readable sentence, and a traceback cut to the author's frames."""

from __future__ import annotations

import os
import traceback
from typing import Any, Dict, Iterable, Optional, Set

_OUR_DIRECTORY = os.path.dirname(os.path.abspath(__file__))

#: Exceptions whose text alone says nothing ("'x'" for a KeyError): the type's name is put before it.
_TERSE = (
    LookupError,
    AssertionError,
    StopIteration,
    SystemExit,
    KeyboardInterrupt,
    ImportError,
    NameError,
    AttributeError,
    OSError,
)


def describe_exception(error: BaseException) -> Dict[str, Any]:
    """The wire form of a failure: ``message``, ``traceback`` and the exception's ``kind``."""
    return {"message": message_of(error), "kind": type(error).__name__, "traceback": traceback_of(error)}


def message_of(error: BaseException) -> str:
    """One line that says what went wrong, as the author worded it where he did."""
    try:
        text = str(error).strip()
    except Exception:  # noqa: BLE001 (an author's __str__ may fail; the prediction must still end)
        text = ""
    if isinstance(error, SyntaxError):
        return "%s: %s (%s, line %s)" % (type(error).__name__, error.msg, _shown(error.filename), error.lineno)
    name = type(error).__name__
    if not text:
        return name
    return "%s: %s" % (name, text) if isinstance(error, _TERSE) else text


def traceback_of(error: BaseException) -> str:
    """The traceback as Python prints it, without the frames of the machinery that called the author's code.

    Empty for what the machinery itself finds fault with: there is nothing in the author's code to point at.
    """
    if type(error).__module__.startswith("drivetrain_worker."):
        return ""
    try:
        shown = traceback.TracebackException(type(error), error, error.__traceback__)
    except Exception:  # noqa: BLE001 (an exception that cannot even be looked at)
        return ""
    seen: Set[int] = set()
    _keep_authors_frames(shown, seen)
    return "".join(shown.format())


def _keep_authors_frames(shown: Optional[traceback.TracebackException], seen: Set[int]) -> None:
    if shown is None or id(shown) in seen:
        return
    seen.add(id(shown))
    shown.stack[:] = _authors(shown.stack)
    _keep_authors_frames(shown.__cause__, seen)
    _keep_authors_frames(shown.__context__, seen)
    for inner in getattr(shown, "exceptions", None) or ():
        _keep_authors_frames(inner, seen)


def _authors(frames: Iterable[traceback.FrameSummary]) -> Any:
    return [
        frame
        for frame in frames
        if not frame.filename.startswith((_OUR_DIRECTORY, "<frozen importlib", "<frozen runpy")) and frame.filename != "<string>"
    ]


def _shown(filename: Optional[str]) -> str:
    if filename is None:
        return "?"
    relative = os.path.relpath(filename)
    return filename if relative.startswith("..") else relative
