"""A prediction on its way: its watchers, and what is left of it."""

import gc
import weakref

import pytest

from drivetrain.model.prediction import Completed, Log, Prediction, PredictionId, Source, Started, Status
from drivetrain.serving.run import Run, now


@pytest.fixture
def run():
    return Run(Prediction(id=PredictionId("a"), input={}, created_at=now()), {}, "/nowhere")


def test_watchers_are_told_in_order_until_they_are_removed(run):
    seen = []
    run.add_watcher(seen.append)
    run.apply(Started(at=now()))
    run.remove_watcher(seen.append)
    run.apply(Log(source=Source.STDOUT, data="x"))
    assert [type(event) for event in seen] == [Started]


def test_a_watcher_may_be_removed_after_the_end(run):
    with run.watched(lambda _event: None):
        run.fail("why not")
    run.remove_watcher(print)


def test_a_run_that_has_ended_needs_no_garbage_collector(request):
    gc.disable()
    request.addfinalizer(gc.enable)

    def left_behind():
        run = Run(Prediction(id=PredictionId("a"), input={}, created_at=now()), {}, "/nowhere")
        run.add_watcher(lambda event: run.is_finished if isinstance(event, Completed) else None)
        run.apply(Started(at=now()))
        run.complete(Status.SUCCEEDED)
        return weakref.ref(run)

    assert left_behind()() is None
