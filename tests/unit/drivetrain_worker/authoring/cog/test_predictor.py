"""Base classes of models."""

import pytest
from cog import BasePredictor, BaseRunner
from cog._scope import Scope, enter, leave


class Old(BasePredictor):
    def predict(self, n):
        return n + 1


class New(BaseRunner):
    def run(self, n):
        self.record_metric("n", n)
        return self.scope.context


def test_run_and_predict_are_two_names_of_one_thing():
    assert Old().run(n=1) == 2
    assert New().predict(1) == {}


def test_a_model_without_either_says_so():
    class Empty(BaseRunner):
        pass

    with pytest.raises(NotImplementedError, match="'Empty' defines neither"):
        Empty().run()
    with pytest.raises(NotImplementedError, match="'Empty' defines neither"):
        Empty().predict()


def test_setup_may_be_called_on_the_base_with_or_without_weights():
    Old().setup()
    Old().setup("weights")


def test_a_model_reaches_the_running_scope():
    recorded = []
    entered = enter(Scope({"user": "me"}, lambda *metric: recorded.append(metric)))
    try:
        assert New().run(4) == {"user": "me"}
    finally:
        leave(entered)
    assert recorded == [("n", 4, "replace")]


def test_a_model_may_keep_something_of_its_own_as_scope():
    model = New()
    model.scope = "mine"
    assert model.scope == "mine"
