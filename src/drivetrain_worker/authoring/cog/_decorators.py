"""Decorators that state facts about a predict function. They return the function itself."""

from __future__ import annotations

from typing import Any, Callable, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])


def streaming(function: Any = None) -> Any:
    """Say that the items a function yields may be sent as server-sent events. Works with and without parentheses."""
    if function is None:
        return streaming
    function.__cog_streaming__ = True
    return function


def concurrent(function: Any = None, *, max: int = 1) -> Any:  # noqa: A002 (Cog's name for it)
    """Say how many predictions may run at once. Works with and without parentheses.

    Raises:
        TypeError: ``max`` is no integer, or the function would need to be async.
        ValueError: ``max`` is less than 1.
    """
    if isinstance(max, bool) or not isinstance(max, int):
        raise TypeError("@concurrent takes an integer as 'max', not %r" % (max,))
    if max < 1:
        raise ValueError("@concurrent needs a 'max' of at least 1, not %d" % max)

    def decorate(decorated: _Function) -> _Function:
        if max > 1 and not _is_async(decorated):
            raise TypeError(
                "'%s' is marked @concurrent(max=%d) but is not async; write 'async def'"
                % (getattr(decorated, "__qualname__", decorated), max)
            )
        decorated.__cog_concurrent_max__ = max  # type: ignore[attr-defined] # functions take attributes
        return decorated

    return decorate if function is None else decorate(function)


def _is_async(function: Any) -> bool:
    import inspect

    innermost = inspect.unwrap(function)
    return any(inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one) for one in (function, innermost))
