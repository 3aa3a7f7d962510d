"""Which lines uv is given how, and which files on this machine they refer to."""

import os

import pytest

from drivetrain.environments.requirements import flags_for_uv, lines_for_uv, local_content, sources, unset_variables

LINES = (
    "--pre",
    "--index-url https://x.example",
    "--trusted-host x.example",
    "--prefer-binary",
    "a==1",
    "--no-binary a",
    "-c c.txt",
)


def test_what_uv_does_not_read_in_a_file_goes_to_its_command_line():
    assert lines_for_uv(LINES) == ("--index-url https://x.example", "a==1", "--no-binary a", "-c c.txt")
    assert flags_for_uv(LINES) == ("--prerelease=allow", "--allow-insecure-host=x.example")


def test_sources_say_only_where_packages_come_from():
    assert sources(LINES) == ("--index-url https://x.example", "--trusted-host x.example")


def test_variables_count_in_addresses_only():
    lines = ("git+https://${TOKEN}@x.example/a.git", "--index-url https://${USER}:${PASSWORD}@x.example", "a; extra == '${NO}'")
    assert unset_variables(lines, {"USER": "ada"}) == ("PASSWORD", "TOKEN")


def content(tmp_path, line):
    return b"".join(local_content([line], tmp_path))


@pytest.mark.parametrize(
    "line",
    [
        "-c limits.txt",
        "./a-1.whl",
        "a-1.whl",
        "a-1.whl; python_version > '3'",
        "./a-1.whl[extra]",
        "a @ ./a-1.whl",
        "a[extra]@./a-1.whl",
        "a @ file:a-1.whl",
        "./a-1.whl --hash=sha256:00",
    ],
)
def test_a_changed_file_changes_the_content(tmp_path, line):
    for name in ("limits.txt", "a-1.whl"):
        (tmp_path / name).write_text("before")
    before = content(tmp_path, line)
    for name in ("limits.txt", "a-1.whl"):
        (tmp_path / name).write_text("after")
    assert before == b"before"
    assert content(tmp_path, line) == b"after"


def test_an_absolute_file_address_is_a_path(tmp_path):
    (tmp_path / "a-1.whl").write_text("wheel")
    assert content(tmp_path, f"a @ file://{tmp_path}/a-1.whl") == b"wheel"


@pytest.mark.parametrize(
    "line", ["numpy", "https://x.example/a.whl", "git+ssh://git@x.example/a.whl", "-c https://x.example/c.txt", "-e ./gone"]
)
def test_other_lines_have_no_content_even_beside_a_directory_of_that_name(tmp_path, line):
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").touch()
    assert content(tmp_path, line) == b""


def test_a_large_file_is_not_read(tmp_path):
    path = tmp_path / "a-1.whl"
    with path.open("wb") as file:
        file.truncate(2**40)
    before = content(tmp_path, "a-1.whl")
    os.utime(path, (1, 1))
    assert len(before) < 100
    assert content(tmp_path, "a-1.whl") != before


@pytest.mark.parametrize("line", ["./lib", "-e ./lib", "lib @ ./lib", "-e ./lib[extra]"])
def test_a_changed_source_of_a_local_package_counts(tmp_path, line):
    (tmp_path / "lib" / "src").mkdir(parents=True)
    source = tmp_path / "lib" / "src" / "lib.py"
    source.write_text("x = 1")
    before = content(tmp_path, line)
    source.write_text("x = 10")
    assert content(tmp_path, line) != before


@pytest.mark.parametrize(
    "made", ["build/lib/lib.py", "lib.egg-info/x.py", "src/__pycache__/x.py", ".git/x.py", "output.png", "result.json"]
)
def test_what_a_build_or_a_run_leaves_in_a_local_package_does_not_count(tmp_path, made):
    (tmp_path / "lib.py").touch()
    before = content(tmp_path, ".")
    (tmp_path / made).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / made).touch()
    assert content(tmp_path, ".") == before


def test_a_package_added_to_a_local_collection_counts(tmp_path):
    (tmp_path / "wheels").mkdir()
    before = content(tmp_path, "--find-links wheels")
    (tmp_path / "wheels" / "a-1.whl").touch()
    assert content(tmp_path, "--find-links wheels") != before
