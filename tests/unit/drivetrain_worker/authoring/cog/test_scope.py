"""Context and metrics of the running prediction."""

import asyncio
import threading

import pytest
from cog import current_scope, emit_metric
from cog._scope import Scope, enter, leave


@pytest.fixture
def recorded():
    """Metrics recorded in a scope that is entered for the test."""
    metrics = []
    entered = enter(Scope({"user": "me"}, lambda *metric: metrics.append(metric)))
    yield metrics
    leave(entered)


def test_metrics_go_to_the_running_prediction(recorded):
    scope = current_scope()
    scope.record_metric("tokens", 3)
    scope.record_metric("tokens", 1, mode="incr")
    scope.record_metric("timing.steps", 0.5, "append")
    emit_metric("old", True)
    assert recorded == [
        ("tokens", 3, "replace"),
        ("tokens", 1, "increment"),
        ("timing.steps", 0.5, "append"),
        ("old", True, "replace"),
    ]


def test_metrics_can_be_set_and_deleted_like_items(recorded):
    metrics = current_scope().metrics
    metrics["a"] = "text"
    del metrics["a"]
    metrics["a"] = 1
    assert recorded == [("a", "text", "replace"), ("a", None, "replace"), ("a", 1, "replace")]


def test_the_context_of_the_request_is_there(recorded):
    assert current_scope().context == {"user": "me"}


def test_outside_a_prediction_everything_is_accepted():
    scope = current_scope()
    scope.record_metric("not a name", object(), mode="whatever")
    assert scope.context == {}


@pytest.mark.parametrize(
    "name", ["", "predict_time", "cog.x", "a..b", ".a", "a.", "1a", "_a", "a_", "a__b", "a-b", "ä", "a.b.c.d.e", "a" * 129]
)
def test_names_that_cannot_be_used_are_refused(recorded, name):
    with pytest.raises(ValueError, match="metric"):
        current_scope().record_metric(name, 1)
    assert recorded == []


@pytest.mark.parametrize("name", ["a", "a_b", "aB1.c_d.e.f2", "a" * 128, "cog", "predict_time.x"])
def test_other_names_are_fine(recorded, name):
    current_scope().record_metric(name, 1)
    assert recorded == [(name, 1, "replace")]


def test_a_metric_keeps_its_type_until_it_is_deleted(recorded):
    scope = current_scope()
    scope.record_metric("a", 1)
    scope.record_metric("a", 1.5)
    with pytest.raises(TypeError, match="metric 'a' is a number and cannot become a string; delete it first"):
        scope.record_metric("a", "x")
    scope.record_metric("a", None)
    scope.record_metric("a", "x")
    scope.record_metric("a", 1, mode="append")


def test_only_numbers_are_incremented(recorded):
    with pytest.raises(TypeError, match="cannot be incremented"):
        current_scope().record_metric("a", "x", "incr")
    with pytest.raises(ValueError, match="mode 'add' is unknown"):
        current_scope().record_metric("a", 1, "add")


def test_values_become_plain_json(recorded):
    class Tensor:
        def tolist(self):
            return 2.5

    current_scope().record_metric("a", {"x": (Tensor(), None), 1: "y"})
    assert recorded == [("a", {"x": [2.5, None], "1": "y"}, "replace")]


def test_values_without_a_json_form_are_refused(recorded):
    with pytest.raises(TypeError, match="metric 'a' cannot be a 'object'"):
        current_scope().record_metric("a", object())
    with pytest.raises(ValueError, match="JSON cannot express"):
        current_scope().record_metric("a", [float("nan")])


def test_a_thread_finds_the_only_running_prediction(recorded):
    thread = threading.Thread(target=emit_metric, args=("a", 1))
    thread.start()
    thread.join()
    assert recorded == [("a", 1, "replace")]


def test_what_outlives_its_prediction_records_nothing():
    metrics = []
    entered = enter(Scope({}, lambda *metric: metrics.append(metric)))
    scope = current_scope()
    leave(entered)
    scope.record_metric("late", 1)
    assert metrics == []


def test_concurrent_predictions_have_their_own_scopes():
    async def predict(name):
        entered = enter(Scope({"name": name}, None))
        await asyncio.sleep(0)
        seen = current_scope().context["name"]
        leave(entered)
        return seen

    async def both():
        return await asyncio.gather(predict("a"), predict("b"))

    assert asyncio.run(both()) == ["a", "b"]
