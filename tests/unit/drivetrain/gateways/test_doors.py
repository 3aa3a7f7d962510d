"""Whom the routes of all gateways let in: those with a key, and where not, it is named here."""

import pytest

from drivetrain.gateways.http import files, observation
from drivetrain.gateways.http.guard import Admits, Guard, GuardedEndpoint
from drivetrain.gateways.native.gateway import native_gateway

#: Apps may be public, so these take calls without a key; the use cases ask whether the app is.
TAKES_CALLERS_WITHOUT_KEY = {
    "/api/v1/apps/{owner}/{name}/predictions",
    "/api/v1/predictions/{id}",
    "/api/v1/predictions/{id}/cancel",
    "/api/v1/predictions/{id}/events",
}
#: The URL is the right (files, runners), or there is nothing to hide.
TAKES_ANYBODY = {
    "/files/{file_id}/{name:path}",
    "/runners/{token}/files/{file_id}/{name:path}",
    "/runners/{token}/uploads/{prediction_id}/{name}",
    "/",
    "/healthz",
    "/readyz",
}


def routes():
    guard = Guard(None)
    yield from native_gateway(guard, None, None).routes
    yield from files.public_routes(guard, None, None)
    yield from files.runner_routes(guard, None, None, limit=1)
    yield from observation.routes(guard, None, None)


@pytest.mark.parametrize("route", list(routes()), ids=lambda route: f"{','.join(sorted(route.methods))} {route.path}")
def test_every_route_asks_for_a_key_but_these(route):
    assert isinstance(route.endpoint, GuardedEndpoint)
    wanted = Admits.KEYS
    if route.path in TAKES_CALLERS_WITHOUT_KEY:
        wanted = Admits.CALLERS
    elif route.path in TAKES_ANYBODY:
        wanted = Admits.ANYBODY
    assert route.endpoint.admits is wanted
