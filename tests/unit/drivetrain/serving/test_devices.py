"""Which GPU each worker sees."""

import pytest

from drivetrain.serving.devices import available_devices, visible_device


def test_one_worker_sees_every_gpu():
    assert visible_device(0, 1, ("0", "1")) is None


def test_several_workers_see_one_each_in_turn():
    assert [visible_device(number, 3, ("4", "7")) for number in range(3)] == ["4", "7", "4"]


def test_without_gpus_nothing_is_set():
    assert visible_device(1, 2, ()) is None


@pytest.mark.parametrize(
    ("named", "devices"), [("", ()), ("2", ("2",)), ("0, 3", ("0", "3")), ("GPU-8932f937,", ("GPU-8932f937",))]
)
def test_what_the_environment_names_counts(named, devices):
    assert available_devices({"CUDA_VISIBLE_DEVICES": named}) == devices
