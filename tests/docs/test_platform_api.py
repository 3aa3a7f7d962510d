"""The page of the platform's API names what there is, and nothing else."""

import re

from drivetrain.gateways.http import observation
from drivetrain.gateways.http.guard import Guard
from drivetrain.gateways.http.refusal import STATUSES
from drivetrain.gateways.native import parsing
from drivetrain.gateways.native.gateway import native_gateway
from drivetrain.platform.app import Resources, Scaling
from drivetrain.platform.deploy_event import Step, Strategy

PAGE = "docs/reference/platform-api.md"


def members(form):
    return set(form.__struct_fields__)


def test_every_route_is_documented_and_no_other(pages):
    routes = {
        (method, route.path) for route in native_gateway(Guard(None), None, None).routes for method in route.methods - {"HEAD"}
    }
    documented = {tuple(text.split()) for text in pages[PAGE].first_column("Routes")}
    assert documented == routes


def test_every_member_of_a_request_is_documented(pages):
    assert set(pages[PAGE].first_column("Running a prediction")) == members(parsing.NewPrediction)
    for form in (parsing.NewKey, parsing.AppChangeBody, parsing.RollbackBody):
        for name in members(form):
            assert f"`{name}`" in pages[PAGE].section("Routes"), name


def test_every_setting_is_documented(pages):
    section = pages[PAGE].section("Settings of an app")
    for name in (*Scaling.__dataclass_fields__, *Resources.__dataclass_fields__):
        assert f"`{name}`" in section, name


def test_every_metric_is_documented_and_no_other(root, pages):
    source = (root / "src/drivetrain/gateways/http/observation.py").read_text(encoding="utf-8")
    assert set(pages[PAGE].first_column("For those who watch")) == set(re.findall(r'"(drivetrain_\w+)"', source))
    for route in observation.routes(Guard(None), None, None):
        assert f"`GET {route.path}`" in pages[PAGE].text


def test_every_status_of_an_error_is_documented(root, pages):
    rows = set(map(int, re.findall(r"^\| (\d+) \|", pages[PAGE].section("Errors"), re.MULTILINE)))
    refused = set()
    for path in (root / "src/drivetrain/gateways").glob("[hn]*/*.py"):
        refused |= set(map(int, re.findall(r"Refused\(\s*(\d{3})", path.read_text(encoding="utf-8"))))
    assert rows == {*STATUSES.values(), *refused, 405}


def test_the_steps_and_strategies_of_a_deployment_are_documented(pages):
    section = pages[PAGE].section("Deploying")
    for word in (*Step, *Strategy):
        assert f"`{word.value}`" in section
