"""Which runs are known, and for how long."""

from datetime import datetime, timedelta, timezone

import pytest

from drivetrain.model.prediction import Log, Prediction, PredictionId, Source, Status
from drivetrain.serving.registry import Registry
from drivetrain.serving.run import Run, now


def make(tmp_path, name):
    prediction = Prediction(id=PredictionId(name), input={}, created_at=datetime(2026, 1, 1, tzinfo=timezone.utc))
    directory = tmp_path / name
    directory.mkdir()
    run = Run(prediction, {}, str(directory))
    run.has_files = True
    return run


def ended(registry, run, at=None):
    registry.add(run)
    run.complete(Status.CANCELED)
    registry.end(run, at or now())
    return run


def test_a_run_is_known_under_way_and_after_its_end(tmp_path):
    registry = Registry(keep=2, keep_for=timedelta(hours=1))
    run = make(tmp_path, "a")
    registry.add(run)
    assert (registry.get("a", now()), list(registry.under_way()), len(registry)) == (run, [run], 1)
    run.complete(Status.CANCELED)
    registry.end(run, now())
    assert (registry.get("a", now()), list(registry.under_way()), len(registry)) == (run, [], 0)


def test_the_oldest_is_forgotten_with_its_files_when_there_are_too_many(tmp_path):
    registry = Registry(keep=2, keep_for=timedelta(hours=1))
    runs = [ended(registry, make(tmp_path, name)) for name in "abc"]
    assert [registry.get(name, now()) for name in "abc"] == [None, *runs[1:]]
    assert [run.input_directory.parent.exists() for run in runs] == [False, True, True]


def test_the_stale_are_forgotten_when_another_ends(tmp_path):
    registry = Registry(keep=10, keep_for=timedelta(minutes=1))
    stale = ended(registry, make(tmp_path, "stale"))
    ended(registry, make(tmp_path, "fresh"), at=now() + timedelta(minutes=2))
    assert registry.get("stale", now()) is None
    assert not stale.input_directory.parent.exists()


@pytest.mark.parametrize(
    "ask", [lambda registry, at: registry.get("stale", at), lambda registry, at: next(registry.known(at), None)]
)
def test_the_stale_are_forgotten_when_somebody_asks_for_them(tmp_path, ask):
    registry = Registry(keep=10, keep_for=timedelta(minutes=1))
    stale = ended(registry, make(tmp_path, "stale"))
    assert ask(registry, now()) is stale
    assert ask(registry, now() + timedelta(minutes=2)) is None
    assert not stale.input_directory.parent.exists()


def test_an_ended_id_can_be_used_again(tmp_path):
    registry = Registry(keep=10, keep_for=timedelta(minutes=1))
    first = ended(registry, make(tmp_path, "a"))
    prediction = Prediction(id=PredictionId("a"), input={}, created_at=now())
    second = Run(prediction, {}, str(tmp_path / "second"))
    registry.add(second)
    assert registry.get("a", now()) is second
    assert not first.input_directory.parent.exists()


def test_the_oldest_are_forgotten_when_they_take_too_much_memory(tmp_path):
    registry = Registry(keep=10, keep_for=timedelta(hours=1), keep_bytes=2500)
    for name in "abc":
        run = make(tmp_path, name)
        run.apply(Log(source=Source.STDOUT, data="x" * 1000))
        ended(registry, run)
    assert [registry.get(name, now()) is not None for name in "abc"] == [False, True, True]


def test_files_that_are_being_read_stay_until_they_have_been(tmp_path):
    registry = Registry(keep=1, keep_for=timedelta(hours=1))
    first = make(tmp_path, "a")
    with first.kept():
        ended(registry, first)
        ended(registry, make(tmp_path, "b"))
        assert first.input_directory.parent.exists()
    assert not first.input_directory.parent.exists()
