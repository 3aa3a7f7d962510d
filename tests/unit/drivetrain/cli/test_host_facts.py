"""What can be seen of a machine."""

import os
import sys

import pytest

from drivetrain.cli.host_facts import cache_problem, look_at_host, nvidia_gpus
from drivetrain.dialects.cog.doctor.case import Gpus
from drivetrain.model.project import EnvironmentSpec, Project
from drivetrain.settings import read_settings

PROPRIETARY = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\nGCC version:  gcc version 12.3.0\n"
)
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (a@b)  Thu Jan 23 2025\n"


def plug(root, name, vendor, kind):
    device = root / "sys" / "bus" / "pci" / "devices" / name
    device.mkdir(parents=True)
    (device / "vendor").write_text(f"{vendor}\n")
    (device / "class").write_text(f"{kind}\n")


@pytest.mark.parametrize(("text", "version"), [(PROPRIETARY, (535, 104, 5)), (OPEN, (570, 86, 15))])
def test_the_driver_tells_its_version_and_its_gpus(tmp_path, text, version):
    driver = tmp_path / "proc" / "driver" / "nvidia"
    (driver / "gpus" / "0000:01:00.0").mkdir(parents=True)
    (driver / "version").write_text(text)
    assert nvidia_gpus(tmp_path) == Gpus(count=1, driver=version)


def test_gpus_without_a_driver_are_seen(tmp_path):
    plug(tmp_path, "0000:01:00.0", "0x10de", "0x030200")
    plug(tmp_path, "0000:01:00.1", "0x10de", "0x040300")  # its sound
    plug(tmp_path, "0000:02:00.0", "0x8086", "0x030000")
    assert nvidia_gpus(tmp_path) == Gpus(count=1, driver=None)


def test_a_machine_without_gpus_has_none(tmp_path):
    assert nvidia_gpus(tmp_path) == Gpus(count=0, driver=None)


def test_a_directory_can_be_written_to_or_not(tmp_path):
    (tmp_path / "file").touch()
    assert cache_problem(tmp_path / "not" / "there") is None
    assert "not a directory" in cache_problem(tmp_path / "file" / "below")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing keeps root from writing")
def test_a_directory_of_somebody_else_is_a_problem(tmp_path):
    tmp_path.chmod(0o500)
    assert "cannot be written to" in cache_problem(tmp_path / "cache")


@pytest.mark.parametrize(("version", "fetchable"), [("3.9", True), ("3.99", False)])
def test_a_python_that_is_not_installed_is_looked_up(tmp_path, version, fetchable):
    spec = EnvironmentSpec(root=tmp_path, python_version=version)
    project = Project(root=tmp_path, dialect="cog", config_file=tmp_path / "cog.yaml", environment=spec)
    host = look_at_host(project, read_settings({"HOME": str(tmp_path), "PATH": "/nonexistent"}))
    ours = "{}.{}".format(*sys.version_info)
    assert (host.python, host.installed_pythons, host.can_fetch_python) == (None, (ours,), fetchable)
    assert (host.cache_problem, host.environment_is_made, host.has_root_at_src) == (None, False, False)
