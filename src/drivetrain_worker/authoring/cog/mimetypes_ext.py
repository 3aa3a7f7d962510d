"""Media types that older Pythons do not know."""

from __future__ import annotations

import sys
from typing import Any


def install_mime_extensions(mimetypes: Any) -> None:
    """Add the missing types to the ``mimetypes`` module, or to an object with its ``add_type``."""
    if sys.version_info < (3, 13):
        mimetypes.add_type("image/webp", ".webp")
