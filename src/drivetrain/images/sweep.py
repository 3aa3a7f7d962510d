"""Keep the images of this machine from growing for ever: what no name leads to is removed once nobody has used it for a while.

Content that is in use counts as used by its time on the disk, which the store renews whenever it is asked for. So an image that is
being built, and has no name yet, keeps what it is made of.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from drivetrain.images.descriptor import Descriptor
from drivetrain.images.errors import Damaged, ImageNotFound
from drivetrain.images.image import Manifest, read_manifest

#: Long enough that holidays do not empty the cache.
UNUSED_SECONDS = 30 * 24 * 3600


def sweep(blobs: Path, named: Iterable[Descriptor], now: float) -> int:
    """Remove what is not used any more.

    Args:
        blobs: The directory of content, by digest.
        named: What has a name.
        now: Seconds since the epoch.

    Returns:
        Bytes that are free now.
    """
    kept = _reachable(blobs, named)
    freed = 0
    with os.scandir(blobs) as found:
        for entry in found:
            with contextlib.suppress(OSError):  # another process may be doing the same
                status = entry.stat(follow_symlinks=False)
                if entry.name not in kept and now - status.st_mtime > UNUSED_SECONDS:
                    Path(entry.path).unlink()
                    freed += status.st_size
    return freed


def _reachable(blobs: Path, named: Iterable[Descriptor]) -> set[str]:
    """Names of the files that images with a name consist of."""
    kept: set[str] = set()
    pending = list(named)
    while pending:
        one = pending.pop()
        name = one.digest.removeprefix("sha256:")
        if name in kept:
            continue
        kept.add(name)
        manifest = _manifest(blobs / name)
        if manifest is not None:
            kept.update(blob.digest.removeprefix("sha256:") for blob in manifest.blobs)
            pending += manifest.manifests
    return kept


def _manifest(path: Path) -> Manifest | None:
    with contextlib.suppress(OSError, Damaged, ImageNotFound):
        return read_manifest(path.read_bytes())
    return None
