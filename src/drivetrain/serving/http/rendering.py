"""A prediction as Cog's API shows it: all fields of the older server's response object, whichever way it is asked for."""

from __future__ import annotations

import asyncio
import base64
from datetime import datetime
from typing import Any

from drivetrain.model.json_value import put_in
from drivetrain.model.prediction import OutputFile, OutputValue, Prediction, Status
from drivetrain.serving.media_type import guess_type

#: Files up to this size are read and encoded in the event loop: handing them to a thread would cost more.
_SMALL_FILE_BYTES = 64 * 1024


async def render_prediction(prediction: Prediction) -> dict[str, Any]:
    """The response object, with output files as data URLs."""
    metrics: dict[str, Any] = dict(prediction.metrics)
    if (seconds := prediction.predict_seconds) is not None:
        metrics["predict_time"] = seconds
    return {
        "id": prediction.id,
        "version": None,
        "status": prediction.status.value,
        "input": prediction.input,
        "output": await _render_output(prediction),
        "error": prediction.failure.message if prediction.failure else None,
        "logs": prediction.logs,
        "metrics": metrics,
        "created_at": _render_time(prediction.created_at),
        "started_at": _render_time(prediction.started_at),
        "completed_at": _render_time(prediction.completed_at),
    }


async def render_ending(prediction: Prediction) -> dict[str, Any]:
    """How a prediction ended, for whoever has followed its events and need not be told them again."""
    failure = prediction.failure
    return {
        "id": prediction.id,
        "status": prediction.status.value,
        "error": failure.message if failure else None,
        "traceback": failure.traceback if failure else None,
        "worker_lost": failure.worker_lost if failure else False,
        "started_at": _render_time(prediction.started_at),
        "completed_at": _render_time(prediction.completed_at),
    }


async def _render_output(prediction: Prediction) -> Any:
    outputs = prediction.outputs
    if prediction.status is Status.CANCELED and not prediction.streams:
        return None
    if prediction.streams:
        if not outputs and prediction.status is not Status.SUCCEEDED:
            return None
        return [await render_value(output) for output in outputs]
    return await render_value(outputs[-1]) if outputs else None


async def render_value(output: OutputValue) -> Any:
    """A JSON value with its files as data URLs."""
    if not output.files:
        return output.value
    urls = {file.pointer: await _data_url(file) for file in output.files}
    return put_in(output.value, urls)


async def _data_url(file: OutputFile) -> str:
    if file.path.stat().st_size <= _SMALL_FILE_BYTES:
        return _encode(file)
    return await asyncio.to_thread(_encode, file)


def _encode(file: OutputFile) -> str:
    content = base64.b64encode(file.path.read_bytes()).decode("ascii")
    return f"data:{guess_type(file.name)};base64,{content}"


def _render_time(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None
