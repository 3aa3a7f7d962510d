"""Which status an error becomes."""

import importlib
import pkgutil

import drivetrain.platform
import drivetrain.stores
from drivetrain.gateways.http.refusal import Refused, headers_of, status_of
from drivetrain.model.errors import BadRequest, DrivetrainError, InternalError, OutsideFailed
from drivetrain.platform.access import Forbidden, NotFound, Unauthenticated
from drivetrain.platform.app import AppName
from drivetrain.platform.limits import LimitExceeded
from drivetrain.platform.queue import QueueFull


def test_each_family_has_its_status():
    errors = [BadRequest("x"), Unauthenticated("x"), Forbidden("x"), NotFound("app", "x"), InternalError("x"), OutsideFailed("x")]
    assert [status_of(error) for error in errors] == [400, 401, 403, 404, 500, 503]


def test_every_error_of_the_platform_has_a_status_of_its_family():
    for package in (drivetrain.platform, drivetrain.stores):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    found, new = set(), {DrivetrainError}
    while new:
        found |= new
        new = {derived for cls in new for derived in cls.__subclasses__()} - found
    for cls in found - {Refused}:
        error = cls.__new__(cls)
        if isinstance(error, BadRequest):
            assert 400 <= status_of(error) < 500, cls


def test_who_has_reached_a_limit_is_told_when_to_come_back():
    assert headers_of(LimitExceeded("too many", 17))["Retry-After"] == "17"
    assert headers_of(QueueFull(AppName("a", "b"), 5))["Retry-After"] == "5"
    assert status_of(LimitExceeded("too many", 17)) == status_of(QueueFull(AppName("a", "b"), 5)) == 429


def test_who_has_no_key_is_told_how_to_send_one():
    assert headers_of(Unauthenticated("no key"))["WWW-Authenticate"] == "Bearer"
