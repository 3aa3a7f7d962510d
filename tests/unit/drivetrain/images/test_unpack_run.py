"""What is decided before an unpacked image is run."""

import errno
import json
import sys

import pytest

from drivetrain.images.engine_run import Running
from drivetrain.images.image import Image
from drivetrain.images.unpack_run import UnpackedRun, User, check_host, driver_libraries, gpu_devices, remedy, user_of
from drivetrain.images.unpacked import UnpackedImage
from drivetrain.model.errors import Misuse, ProjectError

PASSWD = "root:x:0:0:root:/root:/bin/sh\nmodel:x:1000:1001:,,,:/home/model:/bin/sh\n"


@pytest.fixture
def image(tmp_path):
    tree = tmp_path / "layers" / "1"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/passwd").write_text(PASSWD)
    (tree / "etc/group").write_text("root:x:0:\naudio:x:29:model\n")
    (tmp_path / "layers" / "1.json").write_text(json.dumps({"gone": [], "emptied": [], "is_marked": True}))
    return UnpackedImage(tmp_path, ("1",))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", User(number=0, group=0, home="/root")),
        ("model", User(number=1000, group=1001, home="/home/model")),
        ("1000", User(number=1000, group=1001, home="/home/model")),
        ("1234", User(number=1234, group=0, home="/")),
        ("1234:5", User(number=1234, group=5, home="/")),
        ("model:audio", User(number=1000, group=29, home="/home/model")),
    ],
)
def test_the_user_is_whom_the_image_knows_by_the_name(image, text, expected):
    assert user_of(text, image) == expected


@pytest.mark.parametrize("text", ["nobody-here", "model:nobody-here"])
def test_a_user_whom_the_image_does_not_know_is_told(image, text):
    with pytest.raises(ProjectError, match="nobody-here"):
        user_of(text, image)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ({"dev.drivetrain.version": "0.1", "run.cog.version": "0.9.0"}, True),
        ({"run.cog.version": "0.16.9"}, True),
        ({"run.cog.version": "0.9.4"}, False),
        ({"org.cogmodel.version": "0.0.20"}, False),
        ({}, False),
    ],
)
def test_old_servers_of_cog_cannot_be_told_where_to_listen(image, labels, told):
    running = Running(name="x", image=Image(config={"config": {"Labels": labels}}))
    assert UnpackedRun(image=image, running=running).hides_address == told


def test_gpus_are_files_and_all_of_them_need_some():
    there = ["nvidia-uvm", "nvidia0", "nvidia1", "nvidia10", "nvidiactl"]
    assert gpu_devices("all", there) == [f"/dev/{name}" for name in there]
    for text in ("device=1", '"device=1"', "1"):
        assert len(gpu_devices(text.strip('"'), there)) == 3
    assert gpu_devices("device=0,10", there) == ["/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidia10", "/dev/nvidiactl"]
    assert gpu_devices("2", there) == ["/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl"]
    with pytest.raises(ProjectError, match="no '/dev/nvidia7'"):
        gpu_devices("device=7", there)


def test_the_driver_s_libraries_are_those_of_this_architecture():
    listing = """3 libs found in cache `/etc/ld.so.cache'
        libcuda.so.1 (libc6,x86-64) => /nowhere/libcuda.so.1
        libcuda.so.1 (libc6) => /nowhere/32/libcuda.so.1
        libnvidia-ml.so.1 (libc6,AArch64) => /nowhere/libnvidia-ml.so.1
        libcudart.so.12 (libc6,x86-64) => /nowhere/libcudart.so.12
        libc.so.6 (libc6,x86-64) => /lib/libc.so.6
    """.replace("AArch64", "AArch64, OS ABI: Linux 3.7.0")
    assert driver_libraries(listing) == {
        "libcuda.so.1": "/nowhere/libcuda.so.1",
        "libnvidia-ml.so.1": "/nowhere/libnvidia-ml.so.1",
    }


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=15000"),
        ("kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
        ("kernel/unprivileged_userns_clone", "1", "seccomp"),
    ],
)
def test_the_setting_that_forbids_it_is_named(tmp_path, name, value, told):
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text(f"{value}\n")
    assert told in remedy(errno.EPERM, tmp_path)


def test_a_kernel_that_cannot_is_told_as_one(tmp_path):
    assert "built without" in remedy(errno.EINVAL, tmp_path)
    assert "max_user_namespaces" in remedy(errno.ENOSPC, tmp_path)


def test_it_is_for_linux(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(Misuse, match="on Linux only"):
        check_host()
