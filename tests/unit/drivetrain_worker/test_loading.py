"""The entry point that a project names is found, and made ready to be called."""

import functools
from types import ModuleType

import pytest
from cog import BasePredictor

from drivetrain_worker.loading import EntryPoint, LoadError, find_entry_point


class Doubler(BasePredictor):
    factor = 1

    def setup(self):
        self.factor = 2

    def predict(self, number: int) -> int:
        return self.run(number)

    def run(self, anything):
        return self.factor * anything


class Trainer:
    def train(self, steps: int) -> str: ...


def inputs(entry_point):
    return [field["name"] for field in entry_point.description["inputs"]]


def test_predict_counts_where_a_class_also_has_a_method_called_run():
    assert inputs(EntryPoint(Doubler, mode="predict")) == ["number"]


def test_an_instance_that_the_author_made_is_used_as_it_is():
    made = Doubler()
    model = EntryPoint(made, mode="predict").create()
    model.setup()
    assert (model.call(number=2), made.factor) == (4, 2)


def test_functions_and_what_is_called_like_one_have_no_setup():
    def scale(factor: int, number: int) -> int:
        return factor * number

    entry_point = EntryPoint(functools.partial(scale, 3), mode="predict")
    model = entry_point.create()
    assert (inputs(entry_point), model.setup, model.call(number=2)) == (["number"], None, 6)


@pytest.mark.parametrize(
    ("target", "mode", "told"),
    [
        (5, "predict", "of type 'int'"),
        (Doubler, "train", "no 'train' method"),
        (Trainer, "predict", "neither a 'predict' nor a 'run' method"),
    ],
)
def test_what_cannot_run_is_refused(target, mode, told):
    with pytest.raises(LoadError, match=told):
        EntryPoint(target, mode=mode)


def test_a_name_that_is_not_there_is_answered_with_those_that_are():
    module = ModuleType("predict")
    module.__file__ = "predict.py"
    module.Model = type("Model", (), {"__module__": "predict"})
    with pytest.raises(LoadError, match=r"'predict.py' has no 'Predictor' \(it has Model\)"):
        find_entry_point(module, "Predictor", mode="predict", takes_lists=False)
