"""One line for each prediction that a server has run.

Lines of one turn of the event loop are written together, at its end: none is held back longer, so a crash loses none that was told.
"""

from __future__ import annotations

from drivetrain.cli.json_lines import JsonLines
from drivetrain.cli.terminal import Terminal
from drivetrain.model.prediction import Prediction


class SummaryLog:
    """Writes the lines.

    Args:
        terminal: Where to.
        as_json: As JSON, for programs, or for people.
    """

    def __init__(self, terminal: Terminal, *, as_json: bool) -> None:
        self._terminal = terminal
        self._lines = JsonLines(terminal) if as_json else None

    def tell(self, prediction: Prediction) -> None:
        """Write the line of a prediction that has ended. Called in the event loop."""
        if self._lines is not None:
            self._lines.add(_fields(prediction))
            return
        seconds = prediction.predict_seconds
        took = f" in {seconds:.3f} s" if seconds is not None else ""
        why = f": {prediction.failure.message}" if prediction.failure is not None else ""
        self._terminal.quiet(f"{prediction.id} {prediction.status.value}{took}{why}")


def _fields(prediction: Prediction) -> dict[str, object]:
    ended_at = prediction.completed_at
    started_at = prediction.started_at or ended_at
    return {
        "event": "prediction_ended",
        "at": ended_at,
        "id": prediction.id,
        "mode": prediction.mode,
        "status": prediction.status,
        "waited_seconds": (started_at - prediction.created_at).total_seconds() if started_at else None,
        "predict_seconds": prediction.predict_seconds,
        "outputs": len(prediction.outputs),
        "error": prediction.failure.message if prediction.failure else None,
    }
