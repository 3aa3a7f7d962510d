"""How many waiting predictions an idle worker takes together, and when; pure."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from drivetrain.model.project import BatchPolicy


class Take(msgspec.Struct, frozen=True):
    """Run the first ``count`` together now."""

    count: int


class Hold(msgspec.Struct, frozen=True):
    """Decide again after ``delay``: others may come."""

    delay: timedelta


def decide(waiting: int, waited: timedelta, policy: BatchPolicy) -> Take | Hold:
    """What an idle worker does.

    A worker that comes back from a batch takes what has gathered meanwhile as soon as the first has waited its time, so under
    load nobody waits for others: they are there.

    Args:
        waiting: How many predictions wait, at least one.
        waited: How long the first of them has waited.
        policy: The limits.
    """
    if waiting >= policy.max_size:
        return Take(policy.max_size)
    if waited >= policy.max_wait:
        return Take(waiting)
    return Hold(policy.max_wait - waited)
