"""Requirement lines come out in one normal form, and what is wrong in them has its file and line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivetrain.dialects.cog.findings import Findings
from drivetrain.dialects.cog.requirement_lines import requirements_of_file, requirements_of_items
from drivetrain.dialects.cog.section import Text


def read(root, content):
    path = root / "requirements.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    findings = Findings("requirements.txt")
    lines = requirements_of_file(path, root=root, findings=findings)
    return lines, [(finding.code, finding.place) for finding in findings.in_order()]


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("torch==2.4.0  # the newest\n\n# nothing\nnumpy\n", ("torch==2.4.0", "numpy")),
        ("torch \\\n  ==2.4.0\nnumpy\n", ("torch   ==2.4.0", "numpy")),
        ("# a comment \\\nnumpy\n", ("numpy",)),
        (b"\xef\xbb\xbftorch\r\nnumpy\r\n", ("torch", "numpy")),
        ("torch\n".encode("utf-16"), ("torch",)),
        ("a @ https://x.example/a.whl#sha256=1\n", ("a @ https://x.example/a.whl#sha256=1",)),
        ("git+https://x.example/a.git@main\n", ("git+https://x.example/a.git@main",)),
        ("-e git+https://x.example/a.git#egg=a\n", ("git+https://x.example/a.git#egg=a",)),
        ("a[b,c]>=1,<2; python_version < '3.12'\n", ("a[b,c]>=1,<2; python_version < '3.12'",)),
        ("a===1\nb~=1.0\nc (>=1)\nd!=2\n", ("a===1", "b~=1.0", "c (>=1)", "d!=2")),
        ("-ihttps://x.example\n-f https://y.example\n", ("--index-url https://x.example", "--find-links https://y.example")),
        ('--extra-index-url="https://x.example"\n--pre\n', ("--extra-index-url https://x.example", "--pre")),
        ("--index-url https://x.example --no-index\n", ("--index-url https://x.example", "--no-index")),
        ("a==1 --extra-index-url=https://x.example\n", ("--extra-index-url https://x.example", "a==1")),
        ("a==1 \\\n  --hash=sha256:1 \\\n  --hash=sha256:2\n", ("a==1 --hash=sha256:1 --hash=sha256:2",)),
        ("-r https://x.example/r.txt\n-c https://x.example/c.txt\n", ("-r https://x.example/r.txt", "-c https://x.example/c.txt")),
    ],
)
def test_lines_are_normalised(tmp_path, written, normal):
    assert read(tmp_path, written) == (normal, [])


def test_nested_files_are_put_in_where_they_stand(tmp_path):
    (tmp_path / "deps").mkdir()
    (tmp_path / "deps" / "base.txt").write_text("numpy\n-r more.txt\n-c limits.txt\n")
    (tmp_path / "deps" / "more.txt").write_text("scipy\n")
    (tmp_path / "deps" / "limits.txt").write_text("scipy<2\n")
    lines, found = read(tmp_path, "torch\n-r deps/base.txt\npillow\n")
    assert lines == ("torch", "numpy", "scipy", "-c deps/limits.txt", "pillow")
    assert found == []


def test_problems_in_nested_files_name_the_nested_file(tmp_path):
    (tmp_path / "deps").mkdir()
    (tmp_path / "deps" / "base.txt").write_text("numpy\nscipy=1.0\n-r gone.txt\n")
    _, found = read(tmp_path, "-r deps/base.txt\n")
    assert found == [("requirement", "deps/base.txt:2"), ("missing-file", "deps/base.txt:3")]


def test_a_file_that_includes_itself_is_an_error(tmp_path):
    (tmp_path / "other.txt").write_text("numpy\n-r requirements.txt\n")
    lines, found = read(tmp_path, "-r other.txt\n")
    assert lines == ("numpy",)
    assert found == [("requirements-loop", "other.txt:2")]


@pytest.mark.parametrize(
    "written",
    [
        "cog",
        "cog==0.9.4",
        "Cog >= 0.8",
        "coglet",
        "cog[x]",
        "cog @ https://x.example/cog.whl",
        "git+https://github.com/replicate/cog.git@main",
        "https://github.com/replicate/cog/archive/main.zip",
    ],
)
def test_cogs_own_package_is_left_out_with_a_warning(tmp_path, written):
    assert read(tmp_path, f"numpy\n{written}\n") == (("numpy",), [("own-package", "requirements.txt:2")])


def test_packages_whose_names_begin_like_cogs_stay(tmp_path):
    assert read(tmp_path, "cog-extras\ncogapp==3\n") == (("cog-extras", "cogapp==3"), [])


def test_the_project_itself_is_left_out_with_a_warning(tmp_path):
    assert read(tmp_path, "-e .\n--editable=./\n")[0] == ()
    assert read(tmp_path, "-e .\n")[1] == [("own-project", "requirements.txt:1")]


def test_local_paths_that_exist_stay_as_they_are(tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "a-1.whl").touch()
    written = ("./lib", "-e ./lib[extra]", "a-1.whl", "lib @ ./lib", "./a-1.whl; python_version > '3'", "--find-links lib")
    assert read(tmp_path, "\n".join(written)) == (written, [])


@pytest.mark.parametrize("written", ["./lib", "-e ./lib", "a-1.whl", "lib @ ./lib", "../lib"])
def test_local_paths_that_do_not_exist_are_errors(tmp_path, written):
    assert read(tmp_path, written) == ((), [("missing-path", "requirements.txt:1")])


@pytest.mark.parametrize(
    ("written", "remedy"),
    [
        ("numpy=1.26", "write 'numpy==1.26'"),
        ("numpy 1.26", "write 'numpy==1.26'"),
        ("pip install numpy", "write 'numpy'"),
        ("numpy torch", "write one 'name==version' in each line"),
        ("!", "write one 'name==version' in each line"),
        ("--no-cache-dir", "remove it"),
        ("-f", "write it behind the option, or remove the line"),
        ("-r ''", "write it behind the option, or remove the line"),
    ],
)
def test_lines_that_are_no_requirement_come_with_a_correction(written, remedy, tmp_path):
    findings = Findings("cog.yaml")
    item = Text(text=written, line=7)
    lines = requirements_of_items([item], file=tmp_path / "cog.yaml", root=tmp_path, findings=findings)
    (finding,) = findings.in_order()
    assert lines == ()
    assert (finding.code, finding.place, finding.remedy) == ("requirement", "cog.yaml:7", remedy)


def test_options_that_change_nothing_are_left_out_with_a_warning(tmp_path):
    lines, found = read(tmp_path, "a==1 --no-binary :all:\n--use-feature=fast-deps\n")
    assert lines == ("a==1",)
    assert found == [("ignored-option", "requirements.txt:1"), ("ignored-option", "requirements.txt:2")]


def test_a_file_that_is_not_utf8_names_the_line(tmp_path):
    assert read(tmp_path, b"numpy\n\xff\xfa\n") == ((), [("not-utf8", "requirements.txt:2")])


CRUMBS = st.sampled_from(
    ["-r ", "-c", "-e ", "--hash=", " -f ", "cog", "torch", "==", "@ ", "./", "[x]", ";", "\\", "\n", "#", "'", "\x00"]
)


@given(st.lists(CRUMBS | st.text(max_size=4), max_size=8).map("".join))
def test_no_line_makes_it_raise(text):
    findings = Findings("cog.yaml")
    nowhere = Path("/nonexistent/project")
    lines = requirements_of_items([Text(text=text, line=1)], file=nowhere / "cog.yaml", root=nowhere, findings=findings)
    assert all(line == line.strip() for line in lines)
