"""The page on Replicate's API names its routes."""

import re

from drivetrain.gateways.replicate.gateway import replicate_gateway
from drivetrain.gateways.replicate.problem import render_problem


class Anything:
    """Stands for the parts that routes are made of; none of them is used before a request comes."""

    def __getattr__(self, name):
        return self

    def __call__(self, *_, **__):
        return self


def routes():
    """Method and path of every route, below its base."""
    from drivetrain.gateways.http.guard import Guard

    gateway = replicate_gateway(Guard(Anything()), Anything(), Anything())
    assert gateway.render_error is render_problem
    pairs = ((method, route.path) for route in gateway.routes for method in route.methods - {"HEAD"})
    return {
        f"{method} {path[len('/v1') :]}" for method, path in pairs if path.startswith("/v1/") and not path.startswith("/v1/v1/")
    }


def test_every_route_is_documented_and_no_other(pages):
    table = pages["docs/reference/replicate-api.md"].section("Routes")
    documented = {route for line in table.splitlines() if line.startswith("| `") for route in re.findall(r"`([A-Z]+ /\S+)`", line)}
    assert documented == routes()
