"""The trace that a request belongs to, by the W3C's Trace Context."""

from __future__ import annotations

import re

from starlette.requests import Request

_TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?", re.ASCII)


def trace_of(request: Request) -> str | None:
    """Its ``traceparent``, if it is one; anything else is to be treated as if it were not there."""
    trace = request.headers.get("traceparent", "")
    return trace if _TRACE.fullmatch(trace) else None
