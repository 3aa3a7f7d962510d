"""An image described from its manifest and config, for people and programs; pure."""

from __future__ import annotations

import json
from typing import Any

from drivetrain.images.export import layers_of
from drivetrain.images.image import BASE_NAME, Image, Manifest
from drivetrain.images.labels import CONFIG, DRIVETRAIN, SCHEMA, VERSION, label, packages_of


def describe_image(name: str, manifest: Manifest, image: Image) -> dict[str, Any]:
    """All that is known of an image without its layers."""
    config, schema = _document(image, CONFIG), _document(image, SCHEMA)
    settings = image.settings
    return {
        "image": name,
        "digest": manifest.descriptor.digest,
        "platform": str(image.platform),
        "created": image.config.get("created"),
        "base": image.annotations.get(BASE_NAME),
        "model": _model(image),
        "size": sum(layer.size for layer in image.layers),
        "user": settings.get("User") or None,
        "entrypoint": settings.get("Entrypoint") or [],
        "command": settings.get("Cmd") or [],
        "ports": sorted(settings.get("ExposedPorts") or {}),
        "variables": dict(sorted(image.variables.items())),
        "inputs": _inputs(schema),
        "packages": [str(package) for package in packages_of(image.labels)],
        "layers": [
            {
                "digest": layer.descriptor.digest,
                "size": layer.descriptor.size,
                "media_type": layer.descriptor.media_type,
                "made_by": layer.made_by,
            }
            for layer in layers_of(image)
        ],
        "config": config,
        "schema": schema,
    }


def _model(image: Image) -> str | None:
    """Which release of what made it."""
    if ours := label(image.labels, DRIVETRAIN):
        return f"drivetrain {ours}"
    theirs = label(image.labels, VERSION)
    return f"Cog {theirs}" if theirs else None


def _document(image: Image, name: str) -> Any:
    try:
        return json.loads(label(image.labels, name) or "null")
    except ValueError:
        return None


def _inputs(schema: Any) -> list[str]:
    try:
        return sorted(schema["components"]["schemas"]["Input"]["properties"])
    except (TypeError, LookupError):
        return []
