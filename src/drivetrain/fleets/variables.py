"""What a runner's model sees of the platform's environment, and what the platform adds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from drivetrain.platform.fleet import RunnerOrder

#: The platform's own environment may hold secrets of whoever started it. A model gets what tells of the machine, and no more.
_HANDED_ON = frozenset(
    {
        "CURL_CA_BUNDLE",
        "HOME",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "LANG",
        "LANGUAGE",
        "LD_LIBRARY_PATH",
        "LOGNAME",
        "NO_PROXY",
        "PATH",
        "PYTHONDONTWRITEBYTECODE",
        "REQUESTS_CA_BUNDLE",
        "SHELL",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "TZ",
        "USER",
        "http_proxy",
        "https_proxy",
        "no_proxy",
    }
)
_HANDED_ON_PREFIXES = ("LC_", "NVIDIA_", "CUDA_")


def base_variables(environ: Mapping[str, str], order: RunnerOrder, *, temporary: Path) -> dict[str, str]:
    """The environment that a runner's model starts from; the project's own variables and the order's come on top.

    Args:
        environ: The platform's.
        order: For its data directory.
        temporary: Directory for temporary files.
    """
    kept = {name: value for name, value in environ.items() if name in _HANDED_ON or name.startswith(_HANDED_ON_PREFIXES)}
    return {
        **kept,
        "TMPDIR": str(temporary),
        "HF_HOME": str(order.data / ".cache" / "huggingface"),
        "TORCH_HOME": str(order.data / ".cache" / "torch"),
    }


def firm_variables(order: RunnerOrder) -> dict[str, str]:
    """What nothing in a project or a secret can change: which GPUs the runner sees, none if it was granted none, and where its
    data is."""
    return {"CUDA_VISIBLE_DEVICES": ",".join(order.grant.gpus), "DRIVETRAIN_DATA": str(order.data)}
