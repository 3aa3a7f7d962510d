"""The image that another is built on: its config, and the Python in it."""

from __future__ import annotations

import msgspec

from drivetrain.environments.environment import Progress
from drivetrain.images.image import Image, Manifest
from drivetrain.images.interpreter import (
    OLDEST,
    OLDEST_FOR_SERVER,
    BasePython,
    brought_python,
    choose_python,
    list_pythons,
    told_by,
)
from drivetrain.images.plan import Plan
from drivetrain.images.reference import Reference
from drivetrain.images.transfer import Transfers
from drivetrain.model.errors import OutsideFailed, ProjectError


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """A base that was found.

    Attributes:
        image: Config and layers.
        digest: Of its manifest.
        python: The interpreter that the model will use, and the server if it is new enough.
    """

    image: Image
    digest: str
    python: BasePython


def find_base(plan: Plan, reference: Reference, transfers: Transfers, progress: Progress) -> Base:
    """Look at a base. Its layers are fetched only where nothing else says which Python it has.

    Raises:
        ImageNotFound: There is no such image, or none for the platform.
        ProjectError: It has not the Python that the project asks for.
    """
    progress.step(f"Looking at the base {reference}")
    manifest = _manifest(plan, reference, transfers, progress)
    image = transfers.store.image(manifest)
    if not plan.platform.is_satisfied_by(image.platform):
        raise ProjectError(
            f"the base '{reference}' is for {image.platform}, and the image shall be for {plan.platform}",
            hint="name another base, or --platform",
        )
    if len(image.diff_ids) != len(image.layers):
        raise OutsideFailed(f"the base '{reference}' is damaged: it has {len(image.layers)} layers and names {len(image.diff_ids)}")
    return Base(image=image, digest=manifest.descriptor.digest, python=_python(plan, reference, image, transfers, progress))


def _manifest(plan: Plan, reference: Reference, transfers: Transfers, progress: Progress) -> Manifest:
    """What the registry has; where it cannot be reached, what it had when it was last asked."""
    note = f"base-{_plain(str(reference))}-{_plain(str(plan.platform))}"
    store = transfers.store
    try:
        with transfers.registry(reference) as registry:
            manifest = transfers.fetch_manifest(reference, registry, plan.platform)
    except OutsideFailed as error:
        known = store.recall(note)
        if not isinstance(known, str) or not store.path(known).exists():
            raise
        progress.step(f"{error.message}; taking the base as it was last seen")
        return store.manifest(known)
    store.remember(note, manifest.descriptor.digest)
    return manifest


def _python(plan: Plan, reference: Reference, image: Image, transfers: Transfers, progress: Progress) -> BasePython:
    if plan.brings_python:
        assert plan.python is not None
        return _usable(brought_python(plan.python))
    told = told_by(image, str(reference))
    if told is not None:
        return _usable(choose_python([told], plan.python, str(reference)))
    note = f"pythons-{image.config_descriptor.digest.removeprefix('sha256:')}"
    known = transfers.store.recall(note)
    if known is None:
        progress.step("Looking for the base's Python")
        with transfers.registry(reference) as registry:
            for layer in image.layers:
                transfers.fetch(registry, reference, layer)
        known = [[one.path, one.version, one.musl] for one in list_pythons(transfers.store, image.layers)]
        transfers.store.remember(note, known)
    pythons = [BasePython(path=path, version=version, musl=musl) for path, version, musl in known]
    return _usable(choose_python(pythons, plan.python, str(reference)))


def _usable(python: BasePython) -> BasePython:
    if python.numbers < OLDEST:
        raise ProjectError(
            f"images are built for Python 3.8 and later, and this one would have {python.version}",
            hint="set build.python_version to a later one",
        )
    if python.musl and python.numbers < OLDEST_FOR_SERVER:
        raise ProjectError(
            f"images on musl are built for Python 3.10 and later, and this one would have {python.version}",
            hint="set build.python_version to a later one, or name a base with GNU's C library",
        )
    return python


def _plain(text: str) -> str:
    return "".join(character if character.isalnum() or character in ".-" else "_" for character in text)
