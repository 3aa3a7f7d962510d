"""What is kept is what would be read, or is not used."""

import os

import pytest

from drivetrain.dialects.cog import discovery, kept_reading
from drivetrain.dialects.cog.discovery import load_project
from drivetrain.dialects.cog.kept_reading import KeptReadings
from drivetrain.model.errors import ProjectError

CONFIG = """
build:
  python_version: "3.11"
  gpu: true
  python_requirements: needs/main.txt
  run:
    - command: echo hello
      mounts: [{type: secret, id: a, target: /b}]
predict: predict.py:Predictor
train: train.py:train
concurrency: {max: 4, batch: {max_size: 3, max_wait_ms: 7}}
environment: [A=1]
image: registry.example.com/a/b
weights:
  - {name: w, target: /src/weights, source: {uri: "https://example.com/w", include: ["*.bin"]}}
unknown: 1
"""


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "project"
    (root / "needs").mkdir(parents=True)
    (root / "cog.yaml").write_text(CONFIG)
    (root / "needs" / "main.txt").write_text("-r more.txt\nnumpy==2.0\n-e ./local\n--find-links wheels\n")
    (root / "needs" / "more.txt").write_text("torch\n")
    (root / "local").mkdir()
    return root


@pytest.fixture
def kept(tmp_path):
    return KeptReadings(tmp_path / "cache" / "configs")


@pytest.fixture
def readings(monkeypatch):
    """The files that were read, each time."""
    files = []
    read = discovery._read
    monkeypatch.setattr(discovery, "_read", lambda file, shown: files.append(file) or read(file, shown))
    return files


def test_what_is_kept_is_what_was_read(root, kept, readings):
    first = load_project(root, None, kept)
    assert load_project(root, None, kept) == first == load_project(root, None)
    assert first.warnings
    assert len(readings) == 2  # the second was for the comparison


@pytest.mark.parametrize("name", ["cog.yaml", "needs/main.txt", "needs/more.txt"])
def test_a_changed_file_is_read_anew_though_its_time_and_size_are_the_same(root, kept, name):
    first = load_project(root, None, kept)
    status = (root / name).stat()
    text = (root / name).read_text()
    (root / name).write_text(text.replace("3.11", "3.12").replace("2.0", "2.1").replace("torch", "pandas"[:5]))
    os.utime(root / name, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (root / name).stat().st_size == status.st_size
    assert load_project(root, None, kept) == load_project(root, None) != first


def test_a_file_that_has_gone_is_missed(root, kept):
    load_project(root, None, kept)
    (root / "needs" / "more.txt").unlink()
    with pytest.raises(ProjectError):
        load_project(root, None, kept)


def test_a_directory_that_has_gone_is_missed(root, kept):
    load_project(root, None, kept)
    (root / "local").rmdir()
    with pytest.raises(ProjectError):
        load_project(root, None, kept)


def test_a_path_that_was_not_there_and_now_is_counts(root, kept):
    first = load_project(root, None, kept)
    (root / "needs" / "wheels").mkdir()
    again = load_project(root, None, kept)
    assert again == load_project(root, None) != first
    assert "--find-links needs/wheels" in again.project.environment.requirements


def test_errors_are_found_again(root, kept):
    (root / "cog.yaml").write_text("predict: 1\n")
    for _ in range(2):
        with pytest.raises(ProjectError) as caught:
            load_project(root, None, kept)
        assert caught.value.findings


def test_findings_name_the_file_as_it_is_seen_from_where_one_stands(root, kept):
    (root / "sub").mkdir()
    load_project(root, None, kept)
    assert {finding.file for finding in load_project(root / "sub", None, kept).warnings} == {"../cog.yaml"}


def test_each_config_has_its_own(root, kept):
    (root / "other.yaml").write_text("predict: other.py:Other\n")
    for _ in range(2):
        assert load_project(root, None, kept).project.predict.file == "predict.py"
        assert load_project(root, "other.yaml", kept).project.predict.file == "other.py"


def test_another_version_reads_anew(root, kept, readings, monkeypatch):
    load_project(root, None, kept)
    monkeypatch.setattr(kept_reading, "__version__", "another")
    load_project(root, None, kept)
    assert len(readings) == 2


@pytest.mark.parametrize("content", [b"", b"\xc1", b"\x80", b"\x81\xa5maker"])
def test_what_is_damaged_is_not_used(root, kept, tmp_path, readings, content):
    load_project(root, None, kept)
    (file,) = (tmp_path / "cache" / "configs").iterdir()
    file.write_bytes(content)
    load_project(root, None, kept)
    assert len(readings) == 2


def test_what_is_kept_is_for_its_owner_alone(root, kept, tmp_path):
    load_project(root, None, kept)
    (file,) = (tmp_path / "cache" / "configs").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_where_nothing_can_be_kept_projects_are_read(root, tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert load_project(root, None, KeptReadings(tmp_path / "cache" / "configs")).project.root == root


def test_what_has_not_been_made_for_long_is_removed(root, kept, tmp_path):
    (tmp_path / "cache" / "configs").mkdir(parents=True)
    old = tmp_path / "cache" / "configs" / "old"
    old.write_bytes(b"")
    os.utime(old, (0, 0))
    load_project(root, None, kept)
    assert not old.exists()
