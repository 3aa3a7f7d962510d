"""What an image shall be: decided without doing anything."""

from pathlib import Path

import pytest

from drivetrain.images.cuda import CUDA_IMAGES, TENSORFLOW_CUDA, brings_libraries, choose_cuda_image, tensorflow_cuda
from drivetrain.images.descriptor import platform_of
from drivetrain.images.plan import CudaBase, Way, Wishes, container_settings, container_variables, make_plan
from drivetrain.model.errors import ProjectError
from drivetrain.model.project import BuildCommand, EnvironmentSpec, Project, Reference

AMD64 = platform_of("amd64")


def project(**environment):
    return Project(
        root=Path("/project"),
        dialect="cog",
        config_file=Path("/project/cog.yaml"),
        environment=EnvironmentSpec(root=Path("/project"), **environment),
        predict=Reference(file="predict.py", name="Predictor"),
    )


def plan(wishes=None, **environment):
    return make_plan(project(**environment), AMD64, wishes or Wishes())


def test_a_plain_project_needs_no_engine_and_builds_on_slim_python():
    made = plan(python_version="3.11.4")
    assert (made.way, made.base, made.python) == (Way.DIRECT, "python:3.11-slim", "3.11")


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"system_packages": ("ffmpeg",)}, "the project has build.system_packages"),
        ({"commands": (BuildCommand(command="x"),)}, "the project has build.run"),
    ],
)
def test_what_has_to_be_run_needs_an_engine(environment, reason):
    made = plan(**environment)
    assert (made.way, made.reason) == (Way.ENGINE, reason)
    with pytest.raises(ProjectError, match="cannot be built without a container engine"):
        plan(Wishes(engine="none"), **environment)


def test_an_engine_that_is_asked_for_is_used():
    assert plan(Wishes(engine="podman")).way is Way.ENGINE


def test_a_base_of_one_s_own_counts_and_its_python_is_taken():
    assert plan(base="mine:1").base == "mine:1"
    made = plan(Wishes(base="other:2"), base="mine:1")
    assert (made.base, made.python, made.brings_python) == ("other:2", None, False)


@pytest.mark.parametrize(
    ("environment", "wish", "base"),
    [
        ({"requirements": ("torch==2.6.0",)}, CudaBase.AUTO, "python:3.12-slim"),
        ({"requirements": ("tensorflow[and-cuda]==2.18.0",)}, CudaBase.AUTO, "python:3.12-slim"),
        ({"requirements": ("jax[cuda12]",)}, CudaBase.AUTO, "python:3.12-slim"),
        ({"requirements": ("tensorflow==2.15.0",)}, CudaBase.AUTO, "nvidia/cuda:12.2.2-cudnn8-runtime-ubuntu22.04"),
        ({"requirements": ("onnxruntime-gpu",), "cuda": "12.4"}, CudaBase.AUTO, "nvidia/cuda:12.4.1-cudnn-runtime-ubuntu22.04"),
        ({}, CudaBase.AUTO, "nvidia/cuda:11.8.0-cudnn8-runtime-ubuntu22.04"),
        ({"requirements": ("torch",), "cuda": "12.1"}, CudaBase.ALWAYS, "nvidia/cuda:12.1.1-cudnn8-runtime-ubuntu22.04"),
        ({}, CudaBase.NEVER, "python:3.12-slim"),
    ],
)
def test_the_base_of_a_gpu_project_has_cuda_where_its_packages_have_not(environment, wish, base):
    made = plan(Wishes(cuda_base=wish), gpu=True, **environment)
    assert made.base == base
    assert made.brings_python is base.startswith("nvidia")


def test_no_base_has_compilers():
    assert all("-runtime-" in image.name for image in CUDA_IMAGES)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"cuda": "10.2"}, "one of 11.0, 11.1"),
        ({"cuda": "12.4", "cudnn": "8"}, "with CUDA 12.4 there is cuDNN 9"),
    ],
)
def test_cuda_that_no_image_has_names_the_choices(environment, said):
    with pytest.raises(ProjectError, match="there is no image with CUDA") as caught:
        choose_cuda_image(EnvironmentSpec(root=Path("/"), gpu=True, **environment))
    assert said in caught.value.hint


def test_every_cuda_that_tensorflow_looks_for_has_an_image():
    for cuda in TENSORFLOW_CUDA.values():
        assert choose_cuda_image(EnvironmentSpec(root=Path("/"), cuda=cuda)).cuda.startswith(cuda)


def test_a_pinned_tensorflow_says_its_cuda():
    assert tensorflow_cuda(["tensorflow==2.13.1"]) == "11.8"
    assert tensorflow_cuda(["tensorflow-probability==0.21"]) is None
    assert not brings_libraries(["torchmetrics", "pytorch-lightning"])


def test_torch_is_built_for_a_cuda_that_is_known_without_a_driver():
    assert plan(gpu=True, requirements=("torch==2.6.0",)).torch_backend == "cu126"
    assert plan(gpu=True, requirements=("diffusers",)).torch_backend == "cu128"
    assert plan(requirements=("torch==2.6.0",)).torch_backend == "cpu"


def test_the_project_s_variables_come_last_and_the_base_s_path_stays():
    made = plan(variables={"GREETING": "a b", "LANG": "de"}, gpu=True, requirements=("torch",))
    variables = container_variables(made, {"PATH": "/special/bin", "LANG": "C", "KEPT": "1"}, python="3.12")
    assert variables["PATH"] == "/opt/model/bin:/special/bin"
    assert (variables["GREETING"], variables["LANG"], variables["KEPT"]) == ("a b", "de", "1")
    assert variables["NVIDIA_VISIBLE_DEVICES"] == "all"


def test_the_container_starts_as_cog_s_does():
    settings = container_settings(plan(Wishes(user=1000)))
    assert settings["Cmd"] == ["python", "-m", "cog.server.http"]
    assert (settings["WorkingDir"], settings["ExposedPorts"], settings["User"]) == ("/src", {"5000/tcp": {}}, "1000:1000")
