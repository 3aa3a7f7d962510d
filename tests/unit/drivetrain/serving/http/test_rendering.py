"""A prediction in the form of Cog's API."""

import json
from datetime import datetime, timedelta, timezone

import msgspec
import pytest

from drivetrain.model.prediction import Prediction, PredictionId
from drivetrain.serving.http.rendering import render_at_once

AT = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "at",
    [
        AT,
        AT.replace(microsecond=0),
        AT.astimezone(timezone(timedelta(hours=-5, minutes=-30))),
        datetime.min.replace(tzinfo=timezone.utc),
    ],
)
def test_times_are_written_as_python_writes_them(at):
    prediction = Prediction(id=PredictionId("a"), input={}, created_at=at)
    assert json.loads(msgspec.json.encode(render_at_once(prediction, {})))["created_at"] == at.isoformat()
