"""The native API, put together."""

from __future__ import annotations

from drivetrain.gateways.http.addresses import Addresses
from drivetrain.gateways.http.guard import Guard
from drivetrain.gateways.http.shell import Gateway
from drivetrain.gateways.native.administration import Administration
from drivetrain.gateways.native.apps import Apps
from drivetrain.gateways.native.predictions import NAME, Predictions
from drivetrain.gateways.native.rendering import render_error
from drivetrain.platform.platform import Platform


def native_gateway(guard: Guard, platform: Platform, addresses: Addresses) -> Gateway:
    """The gateway."""
    predictions = Predictions(platform, addresses)
    rooms = (predictions, Apps(platform, addresses), Administration(platform, addresses))
    return Gateway(
        name=NAME,
        prefixes=("/api",),
        routes=[route for room in rooms for route in room.routes(guard)],
        render_error=render_error,
        render_webhook=predictions.render,
    )
