"""A route before it is known under which paths it is mounted."""

from __future__ import annotations

from dataclasses import dataclass

from drivetrain.gateways.http.guard import Admits, Endpoint


@dataclass(frozen=True)
class Entry:
    """One route.

    Attributes:
        path: Below the API's base.
    """

    path: str
    endpoint: Endpoint
    method: str
    admits: Admits = Admits.KEYS
