"""A prediction in the form of Cog's API."""

import asyncio
import json
from datetime import datetime, timedelta, timezone

import msgspec
import pytest

from drivetrain.model.prediction import Output, OutputFile, OutputValue, Prediction, PredictionId, Started
from drivetrain.serving.http.rendering import SizedBody, SizedList, render_at_once, render_prediction

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


@pytest.mark.parametrize("sizes", [(), (10,), (10, 1_000_000, 500_000)])
def test_a_list_has_the_length_it_says_and_is_never_in_memory_as_a_whole(tmp_path, sizes):
    async def test():
        predictions = [prediction_with_file(tmp_path / f"{size}.bin", size) for size in sizes]
        body = SizedList([SizedBody(prediction, {"queue_position": 0}) for prediction in predictions])
        pieces = [piece async for piece in body.pieces()]
        assert sum(map(len, pieces)) == body.length
        assert max(map(len, pieces)) < 300_000
        shown = [await render_prediction(prediction) | {"queue_position": 0} for prediction in predictions]
        assert json.loads(b"".join(pieces)) == json.loads(msgspec.json.encode({"results": shown}))

    asyncio.run(test())


def prediction_with_file(path, size):
    path.write_bytes(bytes(size))
    prediction = Prediction(id=PredictionId(path.name), input={}, created_at=AT)
    prediction.apply(Started(at=AT))
    prediction.apply(
        Output(output=OutputValue(value={"file": None}, files=(OutputFile(pointer=("file",), path=path, name="a.bin"),)))
    )
    return prediction
