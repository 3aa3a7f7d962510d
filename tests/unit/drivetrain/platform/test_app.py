"""Settings that no app may have, since all apps share the arithmetic over them."""

import pytest

from drivetrain.model.errors import BadRequest
from drivetrain.platform.app import Scaling, changed_scaling


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_runners", 10**400),
        ("min_runners", -1),
        ("buffer", 10**400),
        ("buffer_percent", 10**9),
        ("concurrency", 0),
        ("scaler_value", float("nan")),
        ("scaler_value", float("inf")),
        ("scaler_value", 0.0),
        ("queue_limit", -1),
        ("max_attempts", 0),
        ("max_attempts", 10**400),
    ],
)
def test_a_setting_out_of_all_proportion_is_refused(name, value):
    with pytest.raises(BadRequest, match=f"'{name}' must be from"):
        changed_scaling(Scaling(), {name: value})


def test_what_is_not_said_stays():
    changed = changed_scaling(Scaling(max_runners=4, concurrency=2), {"min_runners": 3, "concurrency": None})
    assert changed == Scaling(min_runners=3, max_runners=4)


def test_the_minimum_is_not_above_the_maximum():
    with pytest.raises(BadRequest, match="above the maximum"):
        changed_scaling(Scaling(), {"min_runners": 2})
