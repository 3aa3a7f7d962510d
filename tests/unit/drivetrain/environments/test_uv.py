"""uv is called with what the user has set for pip and for uv, and is ended when we are."""

import os
import signal
from pathlib import Path

import pytest

from drivetrain.environments.uv import run_uv, uv_binary
from drivetrain.model.errors import OutsideFailed
from drivetrain.settings import read_settings


@pytest.fixture
def run(tmp_path, bench):
    """Run a shell script in place of uv."""

    def run(script, *arguments, environ=None, **options):
        uv = tmp_path / "uv"
        uv.write_text(f"#!/bin/sh\n{script}\n")
        uv.chmod(0o755)
        base = {
            "HOME": str(tmp_path),
            "PATH": os.environ["PATH"],
            "DRIVETRAIN_UV": str(uv),
            "DRIVETRAIN_CACHE_DIR": str(tmp_path / "cache"),
        }
        return run_uv(arguments, read_settings({**base, **(environ or {})}), bench.told, **options)

    return run


@pytest.fixture
def environ_of_uv(run, bench):
    def environ_of_uv(**variables):
        bench.told.details.clear()
        assert run("env", environ=variables) is None
        return dict(line.partition("=")[::2] for line in bench.told.details)

    return environ_of_uv


def test_the_uv_that_came_with_drivetrain_is_used_unless_another_is_named():
    assert os.access(uv_binary(), os.X_OK)
    assert uv_binary(read_settings({"DRIVETRAIN_UV": "/some/uv"})) == "/some/uv"


def test_a_uv_that_cannot_be_started_is_named(bench):
    with pytest.raises(OutsideFailed, match="cannot start uv at '/nonexistent/uv': No such file"):
        run_uv(["venv"], read_settings({"DRIVETRAIN_UV": "/nonexistent/uv"}), bench.told)


def test_lines_go_in_and_what_it_writes_is_told_but_for_noise(run, bench):
    assert run("cat; echo 'Using Python'; printf '\\033[1mBuilding\\033[0m a\\n' >&2", lines=("a", "b")) is None
    assert bench.told.details == ["a", "b", "Building a"]


def test_many_lines_do_not_block_one_that_does_not_read_them(run):
    assert run("exit 3", lines=["a" * 1000] * 1000).output == ""


def test_a_failure_keeps_all_that_was_written(run):
    lines = run("seq 1000; exit 1").output.splitlines()
    assert (lines[0], lines[-1]) == ("1", "1000")


def test_an_interruption_ends_it_with_its_children(run, bench, tmp_path):
    os.mkfifo(tmp_path / "alive")

    def interrupt(line):
        raise KeyboardInterrupt

    bench.told.detail = interrupt
    reading = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(KeyboardInterrupt):
        run("(sleep 60 > alive) & echo begun; wait", directory=tmp_path)
    os.set_blocking(reading, True)
    assert os.read(reading, 1) == b""  # comes to an end only when the last that could write to it is gone
    os.close(reading)


def test_what_pip_is_told_uv_is_told(environ_of_uv, tmp_path):
    told = environ_of_uv(
        PIP_INDEX_URL="https://a.example",
        PIP_EXTRA_INDEX_URL="https://b.example https://c.example",
        PIP_FIND_LINKS="/d /e",
        COG_CA_CERT=__file__,
    )
    assert told["UV_DEFAULT_INDEX"] == "https://a.example"
    assert told["UV_INDEX"] == "https://b.example https://c.example"
    assert told["UV_FIND_LINKS"] == "/d,/e"
    assert told["SSL_CERT_FILE"] == __file__


@pytest.mark.parametrize("name", ["UV_DEFAULT_INDEX", "UV_INDEX_URL"])
def test_uvs_own_variables_win(environ_of_uv, name):
    told = environ_of_uv(PIP_INDEX_URL="https://pip.example", **{name: "https://uv.example"})
    assert "https://pip.example" not in {value for key, value in told.items() if key.startswith("UV_")}


def test_another_environment_that_is_active_is_not_seen(environ_of_uv):
    assert not {"VIRTUAL_ENV", "UV_SYSTEM_PYTHON"} & environ_of_uv(VIRTUAL_ENV="/x", UV_SYSTEM_PYTHON="1").keys()


def test_uv_keeps_its_own_cache_where_files_can_be_linked_from_it(environ_of_uv, tmp_path):
    assert "UV_CACHE_DIR" not in environ_of_uv()
    assert environ_of_uv(UV_CACHE_DIR="/x")["UV_CACHE_DIR"] == "/x"


@pytest.mark.skipif(not os.path.ismount("/dev/shm"), reason="needs a second file system")
def test_on_another_disk_uvs_cache_goes_along(environ_of_uv):
    assert environ_of_uv(DRIVETRAIN_CACHE_DIR="/dev/shm/cache")["UV_CACHE_DIR"] == "/dev/shm/cache/uv"


def test_the_users_configuration_counts_and_that_of_the_directory_does_not(run, bench, tmp_path):
    assert run('echo "$*"', "venv") is None
    configuration = tmp_path / ".config" / "uv" / "uv.toml"
    configuration.parent.mkdir(parents=True)
    configuration.touch()
    assert run('echo "$*"', "venv") is None
    assert run('echo "$*"', "venv", environ={"UV_CONFIG_FILE": "/x"}) is None
    assert bench.told.details[-3].endswith("--no-config venv") or Path("/etc/uv/uv.toml").exists()
    assert bench.told.details[-2].endswith(f"--config-file {configuration} venv")
    assert bench.told.details[-1] == "--color never venv"


def test_it_has_no_terminal_to_ask_on(run):
    assert run("exec 2>/dev/null; : < /dev/tty") is not None
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
