"""All routes of this gateway, mounted where its clients look for them."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from drivetrain.gateways.http.addresses import Addresses
from drivetrain.gateways.http.guard import Admits, Endpoint, Guard
from drivetrain.gateways.http.shell import Gateway
from drivetrain.gateways.replicate.account import Account
from drivetrain.gateways.replicate.bodies import GATEWAY
from drivetrain.gateways.replicate.deployments import Deployments
from drivetrain.gateways.replicate.files import Files
from drivetrain.gateways.replicate.models import Models
from drivetrain.gateways.replicate.predictions import Predictions
from drivetrain.gateways.replicate.problem import InvalidVersion, render_problem
from drivetrain.gateways.replicate.site import Site
from drivetrain.gateways.replicate.table import Entry
from drivetrain.gateways.replicate.trainings import Trainings
from drivetrain.platform.access import Caller, Forbidden, NotFound, Unauthenticated
from drivetrain.platform.platform import Platform

#: One client appends ``/v1`` to the base URL it is given, the others want it there, and they share the variable for it.
PREFIXES = ("/v1", "/v1/v1")

#: What also answers without ``/v1``, for a base URL that was given without it to a client that does not append it. Files are not
#: among it: their paths are the platform's own.
BARE = (
    "/predictions",
    "/models",
    "/deployments",
    "/trainings",
    "/collections",
    "/hardware",
    "/account",
    "/search",
    "/webhooks",
    "/streams",
)


def replicate_gateway(guard: Guard, platform: Platform, addresses: Addresses) -> Gateway:
    """The gateway for Replicate's clients."""
    site = Site(platform, addresses)
    predictions = Predictions(site)
    entries = _entries(site, predictions)
    paths = [(f"{prefix}{entry.path}", entry) for prefix in PREFIXES for entry in entries]
    paths += [(entry.path, entry) for entry in entries if entry.path.startswith(BARE)]
    return Gateway(
        name=GATEWAY,
        prefixes=(PREFIXES[0], *BARE),
        routes=[guard.route(path, _asking(entry), entry.method, admits=entry.admits) for path, entry in paths],
        render_error=render_problem,
        render_webhook=predictions.render_webhook,
    )


def _asking(entry: Entry) -> Endpoint:
    """An endpoint that asks callers without a key for one before it tells them that there is nothing for them."""
    if entry.admits is not Admits.CALLERS:
        return entry.endpoint

    async def endpoint(request: Request, caller: Caller) -> Response:
        try:
            return await entry.endpoint(request, caller)
        except (NotFound, Forbidden, InvalidVersion):
            if caller.key is None:
                raise Unauthenticated("this needs an API key") from None
            raise

    return endpoint


def _entries(site: Site, predictions: Predictions) -> Sequence[Entry]:
    models = Models(site)
    return [
        *predictions.entries(),
        *models.entries(),
        *Deployments(site, predictions).entries(),
        *Trainings(site, models, predictions).entries(),
        *Files(site).entries(),
        *Account(site, models).entries(),
    ]
