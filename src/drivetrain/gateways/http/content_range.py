"""Parts of files: the Range header (RFC 9110, section 14)."""

from __future__ import annotations

import re

from drivetrain.gateways.http.refusal import Refused

_RANGE = re.compile(r"bytes=\s*(\d*)\s*-\s*(\d*)\s*", re.ASCII)


def read_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The part that is asked for, as its first byte and the one behind its last; ``None`` for the whole.

    Several parts at once, units other than bytes and what cannot be read are answered with the whole, as the standard allows.

    Raises:
        Refused: 416: there is no such part.
    """
    match = _RANGE.fullmatch(header) if header is not None else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < int(first):
            return None
    if start >= stop:
        raise Refused(416, f"the file has only {size} bytes", headers={"Content-Range": f"bytes */{size}"})
    return start, stop
