"""The ports for state, together: what one database keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from drivetrain.platform.app import AppStore
from drivetrain.platform.delivery import DeliveryStore
from drivetrain.platform.key import KeyStore
from drivetrain.platform.queue import QueueStore
from drivetrain.platform.secret import SecretStore


class Closing(Protocol):
    """Gives up what a store holds."""

    async def __call__(self) -> None:
        """Finish what is being written and close. May be called twice."""


@dataclass(frozen=True, kw_only=True)
class Store:
    """Everything one database keeps."""

    queue: QueueStore
    apps: AppStore
    keys: KeyStore
    secrets: SecretStore
    deliveries: DeliveryStore
    close: Closing
