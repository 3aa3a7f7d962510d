"""Which builds of PyTorch a project gets."""

import pytest

from drivetrain.environments.torch import backend_for, named_build, torch_backend
from drivetrain.model.project import EnvironmentSpec
from drivetrain.settings import read_settings


@pytest.mark.parametrize(
    "requirements", [(), ("torch",), ("torch==2.4.0",), ("sentence-transformers",), ("torch==2.4.0", "torchvision")]
)
def test_without_gpu_the_builds_are_for_the_cpu_even_if_torch_is_not_named(requirements):
    assert torch_backend(requirements, gpu=False, cuda=None, platform="linux") == "cpu"


@pytest.mark.parametrize(
    ("line", "cuda", "backend"),
    [
        ("torch==2.5.1", None, "cu124"),
        ("torch == 2.5.1 ; python_version < '3.13'", None, "cu124"),
        ("Torch==2.10.0", None, "cu130"),
        ("torch==1.13.1", "11.6", "cu116"),
        ("torch==2.3.0", "12.2", "cu121"),
        ("torch==2.3.0", "12.1.1", "cu121"),
        ("torch==2.9.0", "11.8", None),
        ("torch==1.7.1", None, None),
        ("torch==9.1", None, None),
        ("torch>=2.1", None, "auto"),
        ("torch", "12.4.1", "cu124"),
        ("torch", "11.9", "auto"),
        ("torchvision==0.19.0", None, "auto"),
        ("torch-fidelity==2.5", None, "auto"),
        ("torch==2.5.1+cu121", None, "cu121"),
        ("torch==2.5.1+cpu", None, "cpu"),
        ("torchaudio==2.5.1+cu118", "12.4", "cu118"),
        ("torch @ https://x.example/torch-2.5.1-cp311.whl", None, None),
    ],
)
def test_with_gpu_the_newest_build_that_the_project_has_room_for(line, cuda, backend):
    assert torch_backend([line], gpu=True, cuda=cuda, platform="linux") == backend


def test_an_index_of_the_authors_choice_is_left_alone():
    lines = ("--extra-index-url https://x.example/pytorch/cu118", "torch==2.0.1")
    assert torch_backend(lines, gpu=True, cuda=None, platform="linux") is None


def test_there_is_one_kind_for_macos():
    assert torch_backend(["torch==2.5.1"], gpu=True, cuda=None, platform="darwin") is None


def test_the_users_choice_comes_first(tmp_path):
    settings = read_settings({"UV_TORCH_BACKEND": "rocm6.3"})
    assert backend_for(EnvironmentSpec(root=tmp_path, requirements=("torch==2.5.1",)), settings) == "rocm6.3"


def test_a_named_build_is_found_among_others():
    assert named_build(["numpy==1.26+local", "torch==2.5.1", "torchvision==0.20.1+cu121"]) == "cu121"
    assert named_build(["numpy==1.26+local", "torch==2.5.1"]) is None
