"""System packages that are missing are named."""

import shutil

import pytest

from drivetrain.environments.system_packages import missing_packages, missing_packages_finding
from drivetrain.model.project import EnvironmentSpec

debian = pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="not a Debian system")


def test_a_project_that_asks_for_none_has_no_finding(tmp_path):
    assert missing_packages_finding(EnvironmentSpec(root=tmp_path)) is None


@debian
def test_what_is_installed_is_not_missing():
    names = ("dpkg", "dpkg=1.0", "dpkg:amd64", "no-such-package-1.0", "no-such=1", "--no-install-recommends")
    assert missing_packages(names) == ("no-such-package-1.0", "no-such=1")


@debian
def test_the_finding_gives_the_command(tmp_path):
    finding = missing_packages_finding(EnvironmentSpec(root=tmp_path, system_packages=("dpkg", "no-such", "nor-such")))
    assert str(finding).endswith("not installed: no-such, nor-such; run: sudo apt-get install no-such nor-such")


def test_elsewhere_the_names_are_told_without_alarm(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = missing_packages_finding(EnvironmentSpec(root=tmp_path, system_packages=("ffmpeg", "libgl1")))
    assert "cannot be looked up here: ffmpeg, libgl1" in finding.problem
