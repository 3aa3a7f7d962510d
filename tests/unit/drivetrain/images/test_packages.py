"""From what uv leaves in a directory to the entries of a virtual environment."""

import base64
import hashlib
import sys

import pytest

from drivetrain.images.archive import Compression
from drivetrain.images.descriptor import platform_of
from drivetrain.images.layer_maker import DirectOptions, LayerMaker
from drivetrain.images.package import Package
from drivetrain.images.package_layers import package_layers
from drivetrain.images.packages import Staging, grouped, lines_for_image
from drivetrain.images.store import ImageStore
from drivetrain.images.target import Target
from drivetrain.model.errors import ProjectError
from drivetrain.settings import read_settings

PLATFORM = platform_of("amd64")


class Untold:
    """Progress that nobody is told of."""

    def step(self, text):
        """Nothing."""

    def detail(self, line):
        """Nothing."""


@pytest.fixture
def stage(tmp_path):
    target = Target(platform=PLATFORM, python="3.11")
    return Staging(tmp_path / "tests" / "stage", target, read_settings({"HOME": str(tmp_path)}), Untold())


def digest(text):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def install(stage, name, files, tag="py3-none-any"):
    information = f"{name.replace('-', '_')}-1.0.dist-info"
    files = {**files, f"{information}/METADATA": f"Name: {name}\nVersion: 1.0\n", f"{information}/WHEEL": f"Tag: {tag}\n"}
    rows = [f"{path},{digest(text)},{len(text)}" for path, text in files.items()]
    files[f"{information}/RECORD"] = "\n".join([*rows, f"{information}/RECORD,,"]) + "\n"
    for path, text in files.items():
        (stage.directory / path).parent.mkdir(parents=True, exist_ok=True)
        (stage.directory / path).write_text(text)


def entries(stage):
    (one,) = stage.distributions("/opt/model")
    return {entry.name: entry for entry in one.entries}


def test_packages_go_below_the_library_and_programs_beside_it(stage):
    install(stage, "a-b", {"a_b/x.py": "1", "bin/tool": "#!/somewhere/python\nprint()\n", "share/man/a.1": "m"})
    found = entries(stage)
    assert "opt/model/lib/python3.11/site-packages/a_b/x.py" in found
    assert "opt/model/share/man/a.1" in found
    program = found["opt/model/bin/tool"]
    assert (program.content, program.executable) == (b"#!/opt/model/bin/python\nprint()\n", True)
    record = found["opt/model/lib/python3.11/site-packages/a_b-1.0.dist-info/RECORD"].content.decode()
    assert f"../../../bin/tool,{digest(program.content.decode())},32" in record.splitlines()


def test_an_interpreter_with_a_long_path_is_replaced_too(stage):
    install(stage, "a", {"bin/tool": "#!/bin/sh\n'''exec' '/long path/python' \"$0\" \"$@\"\n' '''\nprint()\n"})
    assert entries(stage)["opt/model/bin/tool"].content == b"#!/opt/model/bin/python\nprint()\n"


def test_programs_of_other_kinds_stay_what_they_are(stage):
    install(stage, "a", {"bin/tool": "#!/bin/sh\necho\n", "bin/other": "ELF"})
    assert [entries(stage)[f"opt/model/bin/{name}"].source is not None for name in ("tool", "other")] == [True, True]


def test_what_names_this_machine_is_left_out(stage):
    install(
        stage,
        "a",
        {"a.py": "1", "a-1.0.dist-info/direct_url.json": "{}", "a-1.0.dist-info/uv_cache.json": "{}", "__pycache__/a.pyc": "x"},
    )
    names = {name.rpartition("/")[2] for name in entries(stage)}
    assert names == {"a.py", "METADATA", "WHEEL", "RECORD"}


def test_a_record_that_leads_out_is_not_followed(stage, tmp_path):
    (tmp_path / "secret").write_text("x")
    install(stage, "a", {"a.py": "1"})
    record = stage.directory / "a-1.0.dist-info" / "RECORD"
    record.write_text(record.read_text() + "../secret,,\n/etc/passwd,,\n")
    assert not [name for name in entries(stage) if "secret" in name or "passwd" in name]


def test_groups_are_parted_by_what_they_cost(stage):
    for name in ("torch", "nvidia-cublas-cu12", "six"):
        install(stage, name, {f"{name}.py": "1"})
    groups = [(name, [str(one.package) for one in members]) for name, members in grouped(stage.distributions("/opt/model"))]
    assert groups == [("CUDA's libraries", ["nvidia-cublas-cu12==1.0"]), ("frameworks", ["torch==1.0"]), ("packages", ["six==1.0"])]


def packed(directory, python, content="1", **options):
    """The layer of a package whose record is always the same."""
    target = Target(platform=PLATFORM, python=python)
    stage = Staging(directory / python / content, target, read_settings({"HOME": str(directory)}), Untold())
    install(stage, "nvidia-cudnn-cu12", {"nvidia/cudnn.so": "1"})
    (stage.directory / "nvidia" / "cudnn.so").write_text(content)
    maker = LayerMaker(ImageStore(directory / "store"), DirectOptions(compression=Compression.NONE, **options))
    (layer,) = package_layers(stage.distributions("/opt/model"), "model", python, maker)
    return maker.store.path(layer.descriptor.digest).read_bytes()


def test_the_same_package_for_another_python_is_another_layer(tmp_path):
    assert b"opt/model/lib/python3.11/site-packages/nvidia/cudnn.so" in packed(tmp_path, "3.11")
    other = packed(tmp_path, "3.12")
    assert b"opt/model/lib/python3.12/site-packages/nvidia/cudnn.so" in other
    assert b"python3.11" not in other


def test_the_same_package_with_and_without_its_symbols_is_two_layers(tmp_path):
    whole = packed(tmp_path, "3.11", "symbols")
    stripped = packed(tmp_path, "3.11", "none", strips=True)
    assert whole != stripped
    assert packed(tmp_path, "3.11", "symbols") == whole


@pytest.mark.parametrize(
    ("line", "copied"),
    [
        ("-e ./lib", "./lib"),
        ("-e lib[extra]", "./lib[extra]"),
        ("-e ../lib", "../lib"),
        ("-e /lib", "/lib"),
        ("-e file:///lib", "file:///lib"),
        ("-e ${LIBRARIES}/lib", "${LIBRARIES}/lib"),
        ("-c lib.txt", "-c lib.txt"),
        ("lib", "lib"),
    ],
)
def test_what_is_editable_here_is_copied_into_the_image(line, copied):
    assert lines_for_image([line, "--pre"]) == (copied,)


@pytest.mark.parametrize(
    "tag", ["py3-none-any", "cp311-cp311-manylinux_2_17_x86_64", "cp38-abi3-manylinux2014_x86_64", "cp311-cp311-linux_x86_64"]
)
def test_wheels_that_run_there_are_let_through(stage, tag):
    install(stage, "a", {"a.py": "1"}, tag=tag)
    stage.check_wheels()


@pytest.mark.parametrize("tag", ["cp311-cp311-macosx_11_0_arm64", "cp312-cp312-linux_x86_64", "cp311-cp311-linux_aarch64"])
def test_what_was_built_for_another_machine_is_named(stage, tag):
    install(stage, "a", {"a.py": "1"}, tag=tag)
    with pytest.raises(ProjectError, match=r"'a==1.0' has no wheel for linux/amd64 and Python 3.11"):
        stage.check_wheels()


def test_names_are_compared_as_indexes_do():
    assert Package(name="Flask_SQLAlchemy", version="1").normal_name == "flask-sqlalchemy"


def bytecode(stage, **options):
    with stage.compiling("/opt/model", wanted=True, **options) as compiling:
        return {entry.name.rpartition("/__pycache__/")[0]: entry for entry in compiling.entries()}


@pytest.fixture
def our_stage(tmp_path):
    """For the version of Python that is sure to be here."""
    version = ".".join(map(str, sys.version_info[:2]))
    target = Target(platform=PLATFORM, python=version)
    return Staging(tmp_path / "tests" / "stage", target, read_settings({"HOME": str(tmp_path)}), Untold())


def test_bytecode_names_the_place_in_the_image_and_is_never_compared_with_its_source(our_stage):
    install(our_stage, "a", {"a/__init__.py": "def f(): pass\n"})
    ((place, entry),) = bytecode(our_stage).items()
    assert place == f"opt/model/lib/python{our_stage._target.python}/site-packages/a"
    content = entry.source.read_bytes()
    assert content[4:8] == b"\x01\0\0\0"
    assert f"/{place}/__init__.py".encode() in content


def test_what_is_hardly_ever_imported_is_not_compiled(our_stage):
    seldom = ["a/tests/test_a.py", "a/sub/test/b.py", "pip/__init__.py", "setuptools/_vendor/x.py", "drivetrain/platform/queue.py"]
    often = ["a/testing/x.py", "pip_audit/x.py", "b/setuptools/x.py", "_distutils_hack/__init__.py", "pkg_resources/__init__.py"]
    install(our_stage, "a", dict.fromkeys([*seldom, *often], "x = 1\n"))
    root = f"opt/model/lib/python{our_stage._target.python}/site-packages/"
    assert set(bytecode(our_stage)) == {f"{root}{name.rpartition('/')[0]}" for name in often}


def test_without_an_interpreter_of_the_image_s_version_nothing_is_compiled(tmp_path):
    target = Target(platform=PLATFORM, python="3.99")
    stage = Staging(tmp_path / "stage", target, read_settings({"HOME": str(tmp_path)}), Untold())
    install(stage, "a", {"a.py": "x = 1\n"})
    assert bytecode(stage) == {}


def fail_after_compiling(stage):
    with stage.compiling("/opt/model", wanted=True) as compiling:
        compiling.entries()
        raise ValueError("ours")


def test_what_fails_after_the_compiling_is_told_as_what_it_is(our_stage):
    install(our_stage, "a", {"a.py": "x = 1\n"})
    with pytest.raises(ValueError, match="ours"):
        fail_after_compiling(our_stage)
