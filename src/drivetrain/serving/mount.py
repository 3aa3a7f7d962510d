"""Show a directory at another place, to this process and its children alone. Linux, and only for its administrator."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

#: From <sched.h> and <sys/mount.h>.
_NEW_MOUNT_NAMESPACE = 0x00020000
_BIND = 0x1000
_RECURSIVE = 0x4000
_PRIVATE = 0x40000


def mount_for_us(directory: Path, place: Path) -> bool:
    """Show ``directory`` at ``place``, an existing directory. To be called before there is a second thread.

    Returns:
        Whether the kernel would; in a container it often does not, whoever asks.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    steps: tuple[Callable[[], int], ...] = (
        lambda: int(libc.unshare(_NEW_MOUNT_NAMESPACE)),
        # Without this the host would see the mount too.
        lambda: int(libc.mount(b"none", b"/", None, ctypes.c_ulong(_RECURSIVE | _PRIVATE), None)),
        lambda: int(libc.mount(os.fsencode(directory), os.fsencode(place), None, ctypes.c_ulong(_BIND | _RECURSIVE), None)),
    )
    return all(step() == 0 for step in steps)
