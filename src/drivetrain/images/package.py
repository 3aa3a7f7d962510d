"""A Python package of an image, as those who list it name it."""

from __future__ import annotations

import re

import msgspec


class Package(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """An installed package."""

    name: str
    version: str

    @property
    def normal_name(self) -> str:
        """The name as indexes compare it."""
        return re.sub(r"[-_.]+", "-", self.name).lower()

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"
