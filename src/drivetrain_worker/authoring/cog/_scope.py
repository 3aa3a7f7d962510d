"""What a running prediction can know of itself and report: its context and its metrics.

The worker enters a scope before it calls the model and leaves it after. Everything that runs in the prediction's context
(coroutines, tasks, the calling thread) finds it through a context variable. A thread that the model started has a context of its
own; it finds the scope as long as only one prediction runs.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

#: Called with (name, value, mode) for each metric that has been found valid; mode is "replace", "increment" or "append".
Sink = Callable[[str, Any, str], None]

MAXIMUM_NAME_LENGTH = 128
MAXIMUM_SEGMENTS = 4

_MODES = {"replace": "replace", "incr": "increment", "increment": "increment", "append": "append"}


class Metrics:
    """The metrics of a prediction: ``metrics["tokens"] = 42``, ``del metrics["tokens"]``, ``metrics.record(…)``.

    A metric keeps the type it was first given until it is deleted; anything may be appended. Outside a prediction everything is
    accepted and nothing happens.
    """

    def __init__(self, sink: Optional[Sink]) -> None:
        self._sink = sink
        self._kinds: Dict[str, str] = {}

    def record(self, name: str, value: Any, mode: str = "replace") -> None:
        """Record a metric.

        Args:
            name: Up to four segments between dots, which become levels of nesting. A segment starts with a letter and goes on with
                letters, digits and single underscores.
            value: A number, string, boolean, list or dictionary. ``None`` deletes the metric.
            mode: ``replace``, ``incr`` (add to the number recorded before) or ``append`` (to a list).

        Raises:
            ValueError: The name, the mode or a number cannot be used.
            TypeError: The value has no JSON form, or not the type the metric had before.
        """
        if self._sink is None:
            return
        if mode not in _MODES:
            raise ValueError("metric mode %r is unknown; use 'replace', 'incr' or 'append'" % (mode,))
        _check_name(name)
        if value is None:
            self._kinds.pop(name, None)
            self._sink(name, None, "replace")
            return
        plain = _plain(name, value)
        if mode != "append":
            self._check_kind(name, _kind(plain), mode)
        self._sink(name, plain, _MODES[mode])

    def delete(self, name: str) -> None:
        """Remove a metric; afterwards it may be recorded with another type."""
        self.record(name, None)

    __setitem__ = record
    __delitem__ = delete

    def _check_kind(self, name: str, kind: str, mode: str) -> None:
        if _MODES[mode] == "increment" and kind != "number":
            raise TypeError("metric '%s' cannot be incremented by a %s; give a number" % (name, kind))
        before = self._kinds.setdefault(name, kind)
        if before != kind:
            raise TypeError("metric '%s' is a %s and cannot become a %s; delete it first" % (name, before, kind))

    def _close(self) -> None:
        self._sink = None


class Scope:
    """What ``current_scope()`` gives.

    Attributes:
        context: The ``context`` field of the request.
        metrics: Records metrics.
    """

    def __init__(self, context: Mapping[str, str], sink: Optional[Sink], prediction_id: Optional[str] = None) -> None:
        self.context: Dict[str, str] = dict(context)
        self.metrics = Metrics(sink)
        self.prediction_id = prediction_id

    def record_metric(self, name: str, value: Any, mode: str = "replace") -> None:
        """Record a metric; see ``Metrics.record``."""
        self.metrics.record(name, value, mode)


_current: ContextVar[Optional[Scope]] = ContextVar("cog_scope", default=None)
_running: List[Scope] = []


def current_scope() -> Scope:
    """The scope of the running prediction; outside of one, an empty scope whose metrics go nowhere."""
    scope = _current.get()
    if scope is not None:
        return scope
    running = _running[:]
    return running[0] if len(running) == 1 else Scope({}, None)


def emit_metric(name: str, value: Any) -> None:
    """Record a metric, by its older name."""
    current_scope().record_metric(name, value)


def enter(scope: Scope) -> Tuple[Scope, Token[Optional[Scope]]]:
    """Make ``scope`` the current one; the worker calls this. What it returns is for ``leave``, in the same context."""
    _running.append(scope)
    return scope, _current.set(scope)


def leave(entered: Tuple[Scope, Token[Optional[Scope]]]) -> None:
    """End a scope. What still holds it may go on recording, to no effect."""
    scope, token = entered
    _running.remove(scope)
    scope.metrics._close()  # noqa: SLF001 (two classes of one module)
    _current.reset(token)


def _check_name(name: str) -> None:
    if not name:
        raise ValueError("a metric needs a name")
    if len(name) > MAXIMUM_NAME_LENGTH:
        raise ValueError("metric name '%s…' is longer than %d characters" % (name[:40], MAXIMUM_NAME_LENGTH))
    if name == "predict_time" or name.startswith("cog."):
        raise ValueError("metric name '%s' is reserved; choose another" % name)
    segments = name.split(".")
    if len(segments) > MAXIMUM_SEGMENTS:
        raise ValueError("metric name '%s' has more than %d segments" % (name, MAXIMUM_SEGMENTS))
    for segment in segments:
        if not _is_segment(segment):
            raise ValueError(
                "metric name '%s' cannot be used: each segment starts with a letter and goes on with letters, digits and "
                "single underscores" % name
            )


def _is_segment(segment: str) -> bool:
    words = segment.split("_")
    return segment.isascii() and segment[:1].isalpha() and all(word.isalnum() for word in words)


def _plain(name: str, value: Any) -> Any:
    """The value as JSON can carry it; numpy scalars and tensors of any library become numbers and lists."""
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if value - value != 0:  # true for infinity and for what is not a number
            raise ValueError("metric '%s' is %r, which JSON cannot express" % (name, value))
        return float(value)
    if isinstance(value, (list, tuple)):
        return [None if item is None else _plain(name, item) for item in value]
    if isinstance(value, dict):
        return {str(key): None if item is None else _plain(name, item) for key, item in value.items()}
    if callable(getattr(value, "tolist", None)):
        return _plain(name, value.tolist())
    raise TypeError("metric '%s' cannot be a '%s'; record a number, string, boolean, list or dict" % (name, type(value).__name__))


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "list" if isinstance(value, list) else "dict"
