"""What the process environment says."""

import tempfile

import pytest

from drivetrain.settings import read_settings


@pytest.mark.parametrize("name", ["TMPDIR", "TEMP", "TMP"])
def test_the_temporary_directory_is_the_one_that_is_named(tmp_path, name):
    assert read_settings({name: str(tmp_path)}).temporary_directory == str(tmp_path)


@pytest.mark.parametrize("named", ["", None])
def test_without_a_name_it_is_the_usual_one(monkeypatch, named):
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)
    environ = {} if named is None else {"TMPDIR": named}
    assert read_settings(environ).temporary_directory == tempfile.gettempdir()


@pytest.mark.parametrize("named", ["relative", "/nowhere", "/proc/version"])
def test_what_is_not_plain_is_left_to_the_library(named):
    assert read_settings({"TMPDIR": named}).temporary_directory is None


@pytest.mark.parametrize(
    ("environ", "directory"),
    [
        ({"HOME": "/h"}, "/h/.cache/drivetrain"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "/x/drivetrain"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x", "DRIVETRAIN_CACHE_DIR": "/d"}, "/d"),
    ],
)
def test_the_cache_is_where_it_is_said_to_be(environ, directory):
    assert str(read_settings(environ).cache_directory) == directory
