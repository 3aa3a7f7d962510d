"""Does the host have what the project asks of it?"""

import pytest

from drivetrain.dialects.cog.doctor.case import Gpus
from drivetrain.model.finding import Finding, Severity

GPU = "build:\n  gpu: true\npredict: predict.py:Predictor\n"
NONE = Gpus(count=0, driver=None)


@pytest.mark.parametrize(
    ("facts", "severities"),
    [
        ({"python": "3.9.18"}, []),
        ({"python": None, "can_fetch_python": True}, [Severity.NOTE]),
        ({"python": None, "can_fetch_python": False}, [Severity.ERROR]),
        ({"python": "3.9.25"}, [Severity.NOTE]),
    ],
)
def test_the_python_is_there_or_fetched_or_missing(patient, facts, severities):
    made = patient(config='build:\n  python_version: "3.9.18"\n')
    assert [diagnosis.severity for diagnosis in made.found("env-python-version", **facts)] == severities


def test_missing_system_packages_are_passed_on(patient):
    finding = Finding(severity=Severity.WARNING, code="system-packages-missing", problem="'x' is missing", remedy="install it")
    (diagnosis,) = patient().found("env-system-packages", system_packages=finding)
    assert (diagnosis.problem, diagnosis.code) == ("'x' is missing", "system-packages-missing")


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({"system": "Darwin", "gpus": NONE}, "Mac"),
        ({"gpus": NONE}, "there is none"),
        ({"gpus": Gpus(count=0, driver=(580, 1))}, "there is none"),
        ({"gpus": Gpus(count=2, driver=None)}, "driver"),
        ({"gpus": Gpus(count=1, driver=(470, 57)), "torch_builds": "cu126"}, "525"),
        ({"gpus": Gpus(count=1, driver=(535, 104)), "torch_builds": "cu130"}, "580"),
    ],
)
def test_a_gpu_that_is_asked_for_and_cannot_be_used_is_warned_of(patient, facts, word):
    (diagnosis,) = patient(config=GPU).found("env-gpu", **facts)
    assert word in diagnosis.problem


@pytest.mark.parametrize("builds", ["cu118", "cu126", "auto", None])
def test_a_gpu_with_a_driver_that_will_do_is_fine(patient, builds):
    gpus = Gpus(count=1, driver=(535, 104, 5))
    assert patient(config=GPU).found("env-gpu", gpus=gpus, torch_builds=builds) == ()


@pytest.mark.parametrize("use", ["x.cuda()", "x.to('cuda')", "load(device='cuda:0')"])
def test_code_that_insists_on_cuda_needs_a_gpu_in_the_config(patient, use):
    made = patient(f"def Predictor(x: int) -> int:\n    return {use}\n")
    assert made.places("env-gpu", torch_builds="cpu") == [("predict.py", 2)]
    assert made.found("env-gpu", torch_builds=None) == ()


def test_code_that_asks_whether_there_is_cuda_does_not_insist(patient):
    made = patient(
        "import torch\nmodel = load('cuda') if torch.cuda.is_available() else load('cpu')\ndef Predictor() -> int: ...\n"
    )
    assert made.found("env-gpu", torch_builds="cpu") == ()


@pytest.mark.parametrize(
    ("config", "facts", "severities"),
    [
        (GPU, {"free_bytes": 14_000_000_000}, [Severity.WARNING]),
        (GPU, {"free_bytes": 14_000_000_000, "environment_is_made": True}, []),
        (GPU, {"free_bytes": 14_000_000_000, "torch_builds": "cpu"}, []),
        ("build: {}", {"free_bytes": 1_000_000_000}, [Severity.WARNING]),
        ("build: {}", {"cache_problem": "'/cache' is not a directory"}, [Severity.ERROR]),
    ],
)
def test_the_environment_needs_a_place(patient, config, facts, severities):
    found = patient(config=config).found("env-cache", **{"torch_builds": "cu126", **facts})
    assert [diagnosis.severity for diagnosis in found] == severities
