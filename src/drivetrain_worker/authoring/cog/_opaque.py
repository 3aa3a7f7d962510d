"""The mark that makes a foreign type travel as a free-form object."""

from __future__ import annotations


class _Opaque:
    """Write ``Annotated[Foreign, Opaque]``: the schema says "object", and values are handed over as they are."""

    def __repr__(self) -> str:
        return "cog.Opaque"


Opaque = _Opaque()
