"""Which file name suffix belongs to which media type, both ways, the same on every machine."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import mimetypes

#: Types that models deal in and that Python's own table does not have in every version we run on.
_ADDITIONS = {
    ".avif": "image/avif",
    ".glb": "model/gltf-binary",
    ".gltf": "model/gltf+json",
    ".heic": "image/heic",
    ".jfif": "image/jpeg",
    ".m4a": "audio/mp4",
    ".mkv": "video/x-matroska",
    ".obj": "model/obj",
    ".opus": "audio/opus",
    ".ply": "model/ply",
    ".safetensors": "application/octet-stream",
    ".stl": "model/stl",
    ".wav": "audio/wav",
    ".weba": "audio/webm",
    ".webm": "video/webm",
    ".webp": "image/webp",
    ".yaml": "application/yaml",
}

#: Where a type has several suffixes, the one that libraries expect.
_PREFERRED = {
    "application/octet-stream": "",
    "audio/mpeg": ".mp3",
    "audio/wav": ".wav",
    "audio/x-wav": ".wav",
    "audio/mp4": ".m4a",
    "image/jpeg": ".jpg",
    "image/tiff": ".tiff",
    "text/html": ".html",
    "text/plain": ".txt",
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
}


@functools.cache
def _table() -> mimetypes.MimeTypes:
    import mimetypes

    # Python's table without the host's /etc/mime.types, which would make a name depend on the machine.
    table = mimetypes.MimeTypes(filenames=())
    for suffix, media_type in _ADDITIONS.items():
        table.add_type(media_type, suffix)
    return table


def guess_type(name: str) -> str:
    """Media type for a file name; ``application/octet-stream`` when the suffix says nothing."""
    return _table().guess_type(name, strict=False)[0] or "application/octet-stream"


def guess_suffix(media_type: str) -> str:
    """Suffix, with its dot, for a media type; empty when none is known."""
    bare = media_type.partition(";")[0].strip().lower()
    if bare in _PREFERRED:
        return _PREFERRED[bare]
    return _table().guess_extension(bare, strict=False) or ""
