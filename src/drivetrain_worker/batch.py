"""Several predictions that are run with one call of the author's code, and are still told apart in all that comes of it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Dict, List, Sequence

from drivetrain_worker import capture
from drivetrain_worker.protocol import Frame
from drivetrain_worker.session import Run


class BatchError(ValueError):
    """What the author's code returned does not fit the predictions it was given."""


class Batch:
    """Predictions under way together. A context manager that closes what their inputs hold.

    Args:
        runs: The predictions.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self.completed: Dict[str, Frame] = {}
        self.runs: List[Run] = list(runs)
        self.arguments: List[Dict[str, Any]] = []
        self._open = ExitStack()

    def __enter__(self) -> "Batch":
        bound = []
        for run in self.runs:
            try:
                self.arguments.append(self._open.enter_context(run.bind()))
                bound.append(run)
            except Exception as error:  # noqa: BLE001 (inputs that cannot be made fail their own prediction)
                self.completed[run.id] = run.failed(error)
        self.runs = bound
        return self

    def __exit__(self, *_exception: Any) -> None:
        self._open.close()

    def distribute(self, results: Any) -> None:
        """Give each prediction its result; an exception among the results fails the prediction in its place.

        Raises:
            BatchError: There is not one result for each prediction.
        """
        if not isinstance(results, (list, tuple)):
            raise BatchError("a batch must return a list with a result for each prediction, not %s" % type(results).__name__)
        if len(results) != len(self.runs):
            raise BatchError("a batch of %d predictions returned %d results" % (len(self.runs), len(results)))
        for run, result in zip(self.runs, results):
            self.completed[run.id] = self._complete(run, result)

    def _complete(self, run: Run, result: Any) -> Frame:
        if isinstance(result, BaseException):
            return run.failed(result)
        try:
            return run.returned(result)
        except Exception as error:  # noqa: BLE001 (a result that cannot be handed over fails its own prediction)
            return run.failed(error)


def tell_of_retry(error: BaseException) -> None:
    """Say in the predictions' logs that each will be run alone: which one the batch failed for cannot be known otherwise."""
    capture.write_error("The batch failed (%s: %s); running its predictions one by one.\n" % (type(error).__name__, error))
