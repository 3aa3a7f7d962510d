"""The labels of an image: what a platform reads to know a model without pulling it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from drivetrain.dialects.cog.openapi import openapi_document
from drivetrain.dialects.cog.static_reading import read_entry_point
from drivetrain.images.package import Package
from drivetrain.model.project import Mode, Project
from drivetrain.model.signature import Signature

CONFIG = "run.cog.config"
SCHEMA = "run.cog.openapi_schema"
FREEZE = "run.cog.pip_freeze"
VERSION = "run.cog.version"
HAS_INIT = "run.cog.has_init"
DRIVETRAIN = "dev.drivetrain.version"
#: Cog before 0.1 used other names.
_OLD_PREFIX = "org.cogmodel."

#: The release of Cog that images of ours can be taken for.
COG_VERSION = "0.23.1"


def known_labels(config: Mapping[str, Any], schema: Mapping[str, Any], *, version: str) -> dict[str, str]:
    """Labels that are known before anything is built.

    Args:
        config: The project's config as JSON.
        schema: Its OpenAPI document.
        version: Of drivetrain.
    """
    return {
        CONFIG: _compact(config),
        SCHEMA: _compact(schema),
        VERSION: COG_VERSION,
        HAS_INIT: "true",
        DRIVETRAIN: version,
    }


def frozen(packages: Sequence[Package]) -> str:
    """The packages as ``pip freeze`` lists them."""
    return "".join(f"{package}\n" for package in sorted(packages, key=lambda one: one.normal_name))


def packages_of(labels: Mapping[str, str]) -> list[Package]:
    """The packages that an image's labels tell of."""
    lines = (label(labels, FREEZE) or "").splitlines()
    pairs = (line.partition("==") for line in lines if "==" in line)
    return [Package(name=name.strip(), version=version.strip()) for name, _, version in pairs]


def label(labels: Mapping[str, str], name: str) -> str | None:
    """A label's value, by its name or the older one."""
    return labels.get(name) or labels.get(name.replace("run.cog.", _OLD_PREFIX))


def schema_of(project: Project, *, version: str) -> dict[str, Any]:
    """The OpenAPI document of a project, read from its source."""
    signatures: dict[Mode, Signature | None] = {}
    for mode in Mode:
        reference = project.entry_point(mode)
        if reference is None:
            signatures[mode] = None
            continue
        signatures[mode] = read_entry_point(project, reference, mode).signature
    return openapi_document(signatures[Mode.PREDICT], signatures[Mode.TRAIN], version=version)


def _compact(document: Mapping[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)
