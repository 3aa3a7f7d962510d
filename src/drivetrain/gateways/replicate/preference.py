"""The headers by which a client says how long it waits, and how long the prediction may take."""

from __future__ import annotations

import re
from datetime import timedelta

from drivetrain.gateways.http.refusal import Refused

#: Replicate holds a request no longer, and its clients ask for no more.
LONGEST_WAIT = timedelta(seconds=60)
SHORTEST_CANCEL_AFTER = timedelta(seconds=5)
#: As in the platform's own API.
LONGEST_CANCEL_AFTER = timedelta(days=3650)

_WAIT = re.compile(r"wait(?:\s*=\s*\"?(\d{1,6})\"?)?", re.IGNORECASE)
_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(h|ms|m|s)", re.ASCII)
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def read_wait(prefer: str) -> timedelta | None:
    """How long ``Prefer`` asks to be held; ``None`` if it does not.

    What cannot be understood in it is no error (RFC 7240, section 2): a preference is nothing to insist on.
    """
    for preference in re.split(r"[,;]", prefer):
        match = _WAIT.fullmatch(preference.strip())
        if match is not None:
            seconds = int(match[1]) if match[1] is not None else LONGEST_WAIT.seconds
            return min(timedelta(seconds=seconds), LONGEST_WAIT) if seconds else None
    return None


def answer_within(wait: timedelta) -> timedelta:
    """How long to wait for the end so that the answer is there before the client, which counts the same seconds, hangs up."""
    return wait - min(timedelta(milliseconds=500), wait * 0.1)


def read_cancel_after(text: str | None) -> timedelta | None:
    """``Cancel-After``: seconds, or a duration as Go writes it, such as ``1h30m45s``.

    Raises:
        Refused: 422, it is neither, too short or too long.
    """
    if text is None or not (text := text.strip()):
        return None
    seconds = _seconds(text)
    if seconds is None:
        raise Refused(422, f"Cancel-After cannot be '{text}'", hint="write seconds, such as '90', or a duration, such as '1h30m'")
    if seconds < SHORTEST_CANCEL_AFTER.total_seconds():
        raise Refused(422, f"Cancel-After cannot be '{text}': it must be {SHORTEST_CANCEL_AFTER.seconds} seconds or more")
    if seconds > LONGEST_CANCEL_AFTER.total_seconds():
        raise Refused(422, f"Cancel-After cannot be '{text[:40]}': it must be {LONGEST_CANCEL_AFTER.days} days or less")
    return timedelta(seconds=seconds)


def _seconds(text: str) -> float | None:
    if _SECONDS.fullmatch(text):
        return float(text)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
