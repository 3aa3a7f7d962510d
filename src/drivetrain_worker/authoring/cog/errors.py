"""Exceptions that authors catch."""

from __future__ import annotations


class CogError(Exception):
    """Root of the errors Cog raises on purpose."""


class ConfigDoesNotExist(CogError):  # noqa: N818 (Cog's name)
    """There is no cog.yaml."""


class PredictorNotSet(CogError):  # noqa: N818 (Cog's name)
    """The cog.yaml names nothing to run."""


class CancelationException(BaseException):
    """Raised inside a running synchronous prediction that was canceled.

    It passes through ``except Exception``. Code that catches it to clean up must raise it again.
    """
