"""Where older releases kept the exceptions that authors catch."""

from __future__ import annotations

from cog.errors import CancelationException as CancelationException


class FatalWorkerException(Exception):  # noqa: N818 (Cog's name)
    """The worker cannot go on."""


class InvalidStateException(Exception):  # noqa: N818 (Cog's name)
    """Something was asked of the worker that it cannot do now."""
