"""Whether there is room for a project's layers."""

import pytest

from drivetrain.images.archive import Entry
from drivetrain.images.files import ProjectFiles
from drivetrain.images.layer_maker import DirectOptions
from drivetrain.images.project_layers import ProjectLayers
from drivetrain.images.store import ImageStore
from drivetrain.model.errors import OutsideFailed

#: More than any disk of a machine that runs tests has left, and less than its files may be long.
TOO_LARGE = 12 * 1000**4


class Maker:
    """Stands in for one that has made the first layers before that it is asked for."""

    def __init__(self, directory, count):
        self.store = ImageStore(directory / "store")
        self.options = DirectOptions()
        self._left = count

    def made_before(self, key):
        self._left -= 1
        return key if self._left >= 0 else None


def entry(directory, name, size):
    """A file that takes no room: a hole."""
    with (directory / name).open("wb") as file:
        file.truncate(size)
    return Entry(name=f"src/{name}", source=directory / name)


def check(directory, *, code=(), weights=(), packed=0):
    files = ProjectFiles(code=tuple(code), weights=tuple((one,) for one in weights), left_out=())
    ProjectLayers(files, Maker(directory, packed), None, owner=0).check_space()


def test_weights_that_are_packed_already_need_no_room(tmp_path):
    weights = [entry(tmp_path, "large.bin", TOO_LARGE), entry(tmp_path, "new.bin", 100_000_000)]
    check(tmp_path, weights=weights, packed=1)


def test_what_is_new_and_does_not_fit_is_told_and_nothing_else(tmp_path):
    weights = [entry(tmp_path, "packed.bin", TOO_LARGE), entry(tmp_path, "new.bin", TOO_LARGE - 1000**4)]
    with pytest.raises(OutsideFailed, match=r"needs up to 11\.0 TB .* the largest file is '.*new\.bin' with 11\.0 TB"):
        check(tmp_path, weights=weights, packed=1)


def test_code_is_packed_each_time(tmp_path):
    with pytest.raises(OutsideFailed, match=r"film\.mp4"):
        check(tmp_path, code=[entry(tmp_path, "film.mp4", TOO_LARGE)], weights=[entry(tmp_path, "a.bin", 1)], packed=1)
