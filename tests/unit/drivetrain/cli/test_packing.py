"""What is sent of a project, and that it is always the same."""

import io
import os
import tarfile

import pytest

from drivetrain.cli.packing import pack
from drivetrain.dialects.cog.discovery import load_project
from drivetrain.model.errors import OutsideFailed, ProjectError


@pytest.fixture
def project(tmp_path):
    (tmp_path / "cog.yaml").write_text("predict: predict.py:Predictor\n")
    (tmp_path / "predict.py").write_text("class Predictor: ...\n")
    return tmp_path


def packed(root):
    return pack(load_project(root, None).project)


def archive_of(root):
    return b"".join(packed(root).chunks())


def opened(root):
    return tarfile.open(fileobj=io.BytesIO(archive_of(root)), mode="r:gz")


def test_the_same_content_gives_the_same_bytes(project):
    first = archive_of(project)
    os.utime(project / "predict.py", (1, 1))
    (project / "predict.py").chmod(0o600)
    assert archive_of(project) == first


def test_names_contents_and_what_may_be_run_are_kept(project):
    (project / "deep").mkdir()
    (project / "deep" / "näme.bin").write_bytes(bytes(range(256)) * 5000)
    (project / "tool.sh").write_text("#!/bin/sh\n")
    (project / "tool.sh").chmod(0o755)
    (project / "link").symlink_to("deep/näme.bin")
    with opened(project) as archive:
        assert archive.getnames() == ["cog.yaml", "deep/näme.bin", "link", "predict.py", "tool.sh"]
        assert archive.extractfile("deep/näme.bin").read() == bytes(range(256)) * 5000
        assert [archive.getmember(name).mode for name in ("predict.py", "tool.sh")] == [0o644, 0o755]
        assert archive.getmember("link").linkname == "deep/näme.bin"
        assert {member.mtime for member in archive} == {0}


def test_a_directory_without_files_is_sent_too(project):
    (project / "outputs").mkdir()
    with opened(project) as archive:
        assert archive.getnames() == ["cog.yaml", "outputs", "predict.py"]
        assert (archive.getmember("outputs").isdir(), archive.getmember("outputs").mode) == (True, 0o755)


def test_what_is_ignored_and_what_is_secret_stays_here(project):
    (project / ".dockerignore").write_text("data\n*.tmp\n!keep.tmp\n")
    (project / "data").mkdir()
    for name in ("data/x", "a.tmp", "keep.tmp", ".env"):
        (project / name).write_text("x")
    (project / ".git").mkdir()
    (project / ".git" / "HEAD").write_text("x")
    with opened(project) as archive:
        assert set(archive.getnames()) == {".dockerignore", "cog.yaml", "keep.tmp", "predict.py"}
    assert ["'.env'" in finding.problem for finding in packed(project).left_out] == [True]


def test_every_link_that_leads_out_is_named(project):
    (project / "a").symlink_to("/etc/passwd")
    (project / "b").symlink_to("../elsewhere")
    with pytest.raises(ProjectError) as error:
        packed(project)
    assert [finding.problem.split("'")[1] for finding in error.value.findings] == ["a", "b"]


def test_a_file_that_shrinks_while_it_is_sent_is_told(project):
    big = project / "big.bin"
    big.write_bytes(os.urandom(2_000_000))
    chunks = packed(project).chunks()
    next(chunks)
    with big.open("r+b") as file:
        file.truncate(10)
    with pytest.raises(OutsideFailed, match="became shorter"):
        list(chunks)
