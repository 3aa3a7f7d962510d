"""Which platform a command talks to, and with which key."""

import stat

import pytest

from drivetrain.cli.connection import KnownPlatform, find_connection, note, read_known
from drivetrain.model.errors import Misuse
from drivetrain.settings import read_settings


def settings(tmp_path, **environ):
    return read_settings({"HOME": str(tmp_path), **environ})


def platform(name):
    return KnownPlatform(state=f"/{name}", url=f"http://{name}:8700", key=f"key of {name}")


@pytest.fixture
def known(tmp_path):
    """Two platforms were started here, ``new`` last."""
    for name in ("old", "new"):
        note(settings(tmp_path).connections_file, platform(name))


def connection(tmp_path, url=None, **environ):
    found = find_connection(settings(tmp_path, **environ), url)
    return found.url, found.key


@pytest.mark.usefixtures("known")
def test_the_one_started_last_is_talked_to(tmp_path):
    assert connection(tmp_path) == ("http://new:8700", "key of new")


@pytest.mark.usefixtures("known")
def test_what_is_typed_goes_before_the_environment_and_that_before_what_is_noted(tmp_path):
    assert connection(tmp_path, DRIVETRAIN_PLATFORM="http://old:8700/") == ("http://old:8700", "key of old")
    assert connection(tmp_path, "http://old:8700", DRIVETRAIN_PLATFORM="http://x") == ("http://old:8700", "key of old")
    assert connection(tmp_path, DRIVETRAIN_API_KEY="mine") == ("http://new:8700", "mine")


@pytest.mark.usefixtures("known")
def test_a_key_is_not_sent_to_a_platform_that_it_is_not_of(tmp_path):
    assert connection(tmp_path, "https://elsewhere.example") == ("https://elsewhere.example", None)


@pytest.mark.usefixtures("known")
def test_one_that_is_started_again_comes_first_and_is_there_once(tmp_path):
    file = settings(tmp_path).connections_file
    note(file, platform("old"))
    assert [each.state for each in read_known(file)] == ["/old", "/new"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_without_any_the_user_is_told_what_to_do(tmp_path):
    with pytest.raises(Misuse, match="no platform is known here") as error:
        connection(tmp_path)
    assert "drivetrain up" in error.value.hint


@pytest.mark.parametrize("url", ["127.0.0.1:8700", "ftp://x", "http://", "https:///path"])
def test_what_is_no_url_is_told(tmp_path, url):
    with pytest.raises(Misuse, match="is not the URL of a platform"):
        connection(tmp_path, url)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"platforms": [{}]}'])
def test_a_damaged_note_is_told(tmp_path, text):
    file = settings(tmp_path).connections_file
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(Misuse, match="cannot be used"):
        read_known(file)
