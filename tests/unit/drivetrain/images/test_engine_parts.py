"""What is decided before a container engine is called."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from drivetrain.images.engine_build import parse_secret
from drivetrain.images.engine_run import Running, run_command
from drivetrain.images.engines import Engine, find_engine, run_program
from drivetrain.images.image import Image
from drivetrain.model.errors import Misuse, OutsideFailed
from drivetrain.settings import read_settings

DOCKER = Engine(name="docker", program="docker", environ={})


def test_secrets_are_files_or_variables(tmp_path):
    (tmp_path / "token").write_text("x")
    assert parse_secret(f"id=a,src={tmp_path}/token").source == tmp_path / "token"
    assert parse_secret("id=a,env=TOKEN").variable == "TOKEN"
    assert parse_secret("type=env,id=a,env=TOKEN").identity == "a"


@pytest.mark.parametrize("text", ["", "id=a", "src=x", "id=a b,env=X", "id=a,src=/none", "id=a,src=x,env=Y", "id=a,env=X,mode=1"])
def test_what_is_no_secret_is_refused(text):
    with pytest.raises(Misuse):
        parse_secret(text)


def test_a_container_gets_ports_variables_and_shared_memory():
    running = Running(name="image", image=Image(config={}), ports=("127.0.0.1:80",), variables={"A": "b c"}, arguments=("python",))
    assert run_command(DOCKER, running, "--detach") == [
        *("docker", "run", "--rm", "--shm-size", "6g", "--detach", "--env", "A=b c"),
        *("--publish", "127.0.0.1:80:5000", "image", "python"),
    ]


def test_an_image_says_whether_it_wants_a_gpu():
    def of(config):
        return Running(name="x", image=Image(config={"config": {"Labels": {"run.cog.config": config}}}))

    assert of(json.dumps({"build": {"gpu": True}})).wants_gpus
    assert not of(json.dumps({"build": None})).wants_gpus
    assert not of("not json").wants_gpus


def test_without_an_engine_the_choices_are_named():
    with pytest.raises(OutsideFailed, match="no container engine on this machine: docker or podman") as caught:
        find_engine("auto", read_settings({"PATH": "/nowhere", "HOME": "/nowhere"}))
    assert ("--engine unpack" in caught.value.hint) == sys.platform.startswith("linux")
    with pytest.raises(OutsideFailed, match="machine: buildah, podman or docker"):
        find_engine("auto", read_settings({"PATH": "/nowhere", "HOME": "/nowhere"}), builds=True)


def test_an_engine_that_does_not_work_is_told_as_one(tmp_path):
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(OutsideFailed, match="'docker' is installed but does not work"):
        find_engine("auto", read_settings({"PATH": str(tmp_path), "HOME": "/nowhere"}))


def test_the_last_lines_of_a_program_that_fails_are_kept():
    with pytest.raises(OutsideFailed, match="failed with exit status 3") as caught:
        run_program([shutil.which("sh"), "-c", "seq 100; exit 3"], {"PATH": "/usr/bin:/bin"}, what="sh", directory=Path("/"))
    assert caught.value.detail.splitlines()[-1] == "100"
    assert len(caught.value.detail.splitlines()) == 25


class Told:
    """Progress that keeps what it is told."""

    def __init__(self):
        self.lines = []

    def detail(self, line):
        self.lines.append(line)


def test_warnings_of_an_engine_are_no_part_of_its_answer(tmp_path):
    program = tmp_path / "podman"
    program.write_text("#!/bin/sh\necho 'level=warning msg=\"no systemd\"' >&2\necho true\n")
    program.chmod(0o755)
    told = Told()
    engine = Engine(name="podman", program=str(program), environ={"PATH": "/usr/bin:/bin"})
    assert engine.call("inspect", progress=told) == "true\n"
    assert set(told.lines) == {'level=warning msg="no systemd"', "true"}


def test_much_on_both_streams_is_read_from_both():
    script = "seq 100000 >&2; seq 100000; echo why >&2; exit 3"
    with pytest.raises(OutsideFailed) as caught:
        run_program([shutil.which("sh"), "-c", script], {"PATH": "/usr/bin:/bin"}, what="sh")
    assert "why" in caught.value.detail.splitlines()
