"""What a model sees of the platform's environment."""

from datetime import timedelta
from pathlib import Path

from drivetrain.fleets.variables import base_variables, firm_variables
from drivetrain.platform.app import AppName
from drivetrain.platform.fleet import Grant, RunnerId, RunnerOrder

ORDER = RunnerOrder(
    id=RunnerId("r"),
    app=AppName("alice", "model"),
    revision="revision",
    source=Path("/source"),
    data=Path("/state/data"),
    grant=Grant(gpus=("0", "GPU-1")),
    variables={},
    files_url="http://127.0.0.1/files",
    concurrency=None,
    startup_timeout=timedelta(seconds=1),
)


def test_what_tells_of_the_machine_is_handed_on_and_nothing_else():
    platform = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "CUDA_HOME": "/cuda",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "CUDA_VISIBLE_DEVICES": "7",
        "PYTHONPATH": "/p",
    }
    given = {**base_variables(platform, ORDER, temporary=Path("/tmp/1")), **firm_variables(ORDER)}
    assert given == {
        "PATH": "/bin",
        "LC_ALL": "C",
        "CUDA_HOME": "/cuda",
        "TMPDIR": "/tmp/1",
        "HF_HOME": "/state/data/.cache/huggingface",
        "TORCH_HOME": "/state/data/.cache/torch",
        "CUDA_VISIBLE_DEVICES": "0,GPU-1",
        "DRIVETRAIN_DATA": "/state/data",
    }
