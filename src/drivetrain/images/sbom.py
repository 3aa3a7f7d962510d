"""What is in an image, in the two forms that tools read; pure, and the same for the same image."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from typing import Any

from drivetrain import __version__
from drivetrain.images.archive import EPOCH
from drivetrain.images.package import Package


def cyclonedx(name: str, digest: str, packages: Sequence[Package]) -> dict[str, Any]:
    """A CycloneDX 1.5 document.

    Args:
        name: The image.
        digest: Of its manifest.
        packages: Of the model.
    """
    components = [
        {"type": "library", "bom-ref": _url(one), "name": one.name, "version": one.version, "purl": _url(one)}
        for one in _sorted(packages)
    ]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{_identity(digest)}",
        "version": 1,
        "metadata": {
            "timestamp": EPOCH,
            "tools": [{"name": "drivetrain", "version": __version__}],
            "component": {"type": "container", "bom-ref": "image", "name": name, "version": digest},
        },
        "components": components,
        "dependencies": [{"ref": "image", "dependsOn": [one["bom-ref"] for one in components]}],
    }


def spdx(name: str, digest: str, packages: Sequence[Package]) -> dict[str, Any]:
    """An SPDX 2.3 document; arguments as above."""
    listed = [_spdx_package(f"SPDXRef-Package-{number}", one) for number, one in enumerate(_sorted(packages), start=1)]
    image = {
        "SPDXID": "SPDXRef-Image",
        "name": name,
        "versionInfo": digest,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "primaryPackagePurpose": "CONTAINER",
    }
    contained = [("SPDXRef-Image", "CONTAINS", one["SPDXID"]) for one in listed]
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": f"https://spdx.org/spdxdocs/{_identity(digest)}",
        "creationInfo": {"created": EPOCH, "creators": [f"Tool: drivetrain-{__version__}"]},
        "packages": [image, *listed],
        "relationships": [
            {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
            for one, kind, other in [("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Image"), *contained]
        ],
    }


def _spdx_package(identity: str, package: Package) -> dict[str, Any]:
    url = {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": _url(package)}
    return {
        "SPDXID": identity,
        "name": package.name,
        "versionInfo": package.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "externalRefs": [url],
    }


def _url(package: Package) -> str:
    return f"pkg:pypi/{package.normal_name}@{package.version}"


def _identity(digest: str) -> uuid.UUID:
    return uuid.UUID(bytes=hashlib.sha256(digest.encode()).digest()[:16], version=4)


def _sorted(packages: Sequence[Package]) -> list[Package]:
    return sorted(packages, key=lambda one: one.normal_name)
