"""The layers of the project itself: its weights, and its code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from drivetrain.environments.environment import Progress
from drivetrain.images import layout
from drivetrain.images.archive import Compression, Entry, directory, file
from drivetrain.images.files import DENSE, ProjectFiles
from drivetrain.images.image import Layer
from drivetrain.images.layer_maker import LayerMaker, few, key_of
from drivetrain.images.plan import HOME
from drivetrain.model.errors import OutsideFailed

#: What packing and compressing may need beside the content itself.
_SPARE_BYTES = 64 * 1024 * 1024


class ProjectLayers:
    """Makes them.

    Args:
        files: Of the project.
        maker: Makes and remembers layers.
        progress: Told each step.
        owner: Numeric user that the files belong to.
    """

    def __init__(self, files: ProjectFiles, maker: LayerMaker, progress: Progress, *, owner: int) -> None:
        self._files = files
        self._maker = maker
        self._progress = progress
        self._owner = owner

    def check_space(self) -> None:
        """See at once whether the disk has room for what of the project is not packed yet; it is the part that can be huge.

        Raises:
            OutsideFailed: It has not.
        """
        directory = self._maker.store.directory
        place = next(path for path in (directory, *directory.parents) if path.exists())
        free = shutil.disk_usage(place).free
        room = max(free - _SPARE_BYTES, _SPARE_BYTES)
        if _total(_sizes([self._files.code, *self._files.weights])) <= room:
            return
        # Only now is it asked which weights were packed before: where all would fit, that makes no difference.
        new = [group for group in self._files.weights if self._maker.made_before(self._weight_key(group)) is None]
        sizes = _sizes([self._files.code, *new])
        if (need := _total(sizes)) <= room:
            return
        size, largest = max(sizes)
        raise OutsideFailed(
            f"the image needs up to {_readable(need)} on the disk of '{place}', which has {_readable(free)} left; "
            f"the largest file is '{largest}' with {_readable(size)}",
            hint="free some space, set DRIVETRAIN_CACHE_DIR to another disk, or keep the file out with .dockerignore",
        )

    def weights(self) -> list[Layer]:
        """A layer for each group of weights."""
        return [self._weight_layer(group) for group in self._files.weights]

    def code(self, schema: Mapping[str, Any]) -> Layer:
        """All but the weights, and the model's OpenAPI document."""
        own = [
            directory(layout.inner(layout.SOURCE), owner=self._owner),
            file(layout.inner(f"{layout.SOURCE}/.cog/openapi_schema.json"), json.dumps(schema, separators=(",", ":"))),
        ]
        if self._owner:
            own.append(directory(layout.inner(HOME), owner=self._owner))
        return self._maker.write([*own, *self._files.code], "the project")

    def _weight_layer(self, group: Sequence[Entry]) -> Layer:
        key = self._weight_key(group)
        if (layer := self._maker.made_before(key)) is not None:
            return layer
        names = few([Path(entry.name).name for entry in group])
        self._progress.step(f"Packing weights: {names}")
        dense = len(group) == 1 and group[0].name.endswith(DENSE)
        layer = self._maker.write(group, f"weights: {names}", compression=Compression.NONE if dense else None)
        return self._maker.remember(key, layer)

    def _weight_key(self, group: Sequence[Entry]) -> str:
        """By size and times, which the kernel keeps: weights are not read again to see whether they have changed."""
        stamps = []
        for entry in group:
            status = entry.source.stat() if entry.source is not None else None
            stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev) if status else ()
            stamps.append([entry.name, entry.executable, entry.owner, *stamp])
        return key_of(["weights", self._maker.options.compression.value, stamps])


def _sizes(groups: Iterable[Sequence[Entry]]) -> list[tuple[int, Path]]:
    sources = (entry.source for group in groups for entry in group if entry.source is not None)
    return [(source.stat().st_size, source) for source in sources]


def _total(sizes: Iterable[tuple[int, Path]]) -> int:
    return sum(size for size, _ in sizes)


def _readable(size: int) -> str:
    amount = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
