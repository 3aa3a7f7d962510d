"""The ``environment:`` list of cog.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from drivetrain.dialects.cog.findings import Findings
from drivetrain.dialects.cog.section import Text, shortened

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

#: Names that Cog keeps for itself and its host; a project that sets them would break when it is moved.
RESERVED_NAMES = frozenset(
    {
        "PATH",
        "LD_LIBRARY_PATH",
        "LIBRARY_PATH",
        "PYTHONPATH",
        "VIRTUAL_ENV",
        "PYTHONUNBUFFERED",
        "HF_ENDPOINT",
        "HF_HUB_ENABLE_HF_TRANSFER",
    }
)
RESERVED_PREFIXES = ("R8_", "REPLICATE_", "CUDA_", "NVIDIA_", "NV_", "PGET_", "KUBERNETES_")


def read_variables(items: Iterable[Text], findings: Findings) -> Mapping[str, str]:
    """The variables that ``NAME=value`` items set; items that are wrong are left out and noted."""
    variables: dict[str, str] = {}
    for item in items:
        name, equals, value = item.text.partition("=")
        problem, remedy = _objection(name, bool(equals), variables)
        if problem:
            findings.error("environment", problem, remedy, item.line)
        else:
            variables[name] = _unquoted(value)
    return variables


def _objection(name: str, has_value: bool, variables: Mapping[str, str]) -> tuple[str, str]:
    if not _NAME.fullmatch(name):
        return f"'{shortened(name)}' is not a name for an environment variable", "write the item as NAME=value"
    if not has_value:
        return f"'{shortened(name)}' in 'environment' has no value", f"write '{shortened(name)}=value'"
    if name in variables:
        return f"'{name}' is set twice in 'environment'", "keep one of the two"
    if name in RESERVED_NAMES or name.startswith(RESERVED_PREFIXES):
        return f"'{name}' cannot be set in 'environment'", "remove the item, or set it in the predictor with os.environ"
    return "", ""


def _unquoted(value: str) -> str:
    """The value as a Dockerfile's ``ENV`` reads it, which is where Cog puts it: without quotes around it."""
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value
