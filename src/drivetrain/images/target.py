"""What packages of an image are for."""

from __future__ import annotations

import msgspec

from drivetrain.images.descriptor import Platform

#: uv's names for what wheels are chosen for. Every base of the last five years has this version of GNU's C library.
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_GLIBC = "manylinux_2_28"
_MUSL = "musllinux_1_2"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What packages are for.

    Attributes:
        platform: The image's.
        python: ``MAJOR.MINOR``.
        musl: Whether its C library is musl.
    """

    platform: Platform
    python: str
    musl: bool = False

    @property
    def machine(self) -> str:
        """The kernel's name for its processor."""
        return _MACHINES[self.platform.architecture]

    @property
    def uv_platform(self) -> str:
        """uv's name."""
        return f"{self.machine}-{_MUSL if self.musl else _GLIBC}"
