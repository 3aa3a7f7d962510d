"""Projects are found from anywhere within them, and loaded or refused as a whole."""

import pytest

from drivetrain.dialects.cog.discovery import LARGEST_CONFIG, find_config, load_project
from drivetrain.model.errors import ProjectError


def test_the_config_is_found_from_a_directory_below(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "cog.yaml").touch()
    assert find_config(tmp_path / "a" / "b", None) == tmp_path / "cog.yaml"


def test_the_nearest_config_wins(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    for directory in (tmp_path, tmp_path / "a"):
        (directory / "cog.yaml").touch()
    assert find_config(tmp_path / "a" / "b", None) == tmp_path / "a" / "cog.yaml"


def test_another_name_is_looked_for_in_the_same_way(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "cog.yaml").touch()
    (tmp_path / "cog-gpu.yaml").touch()
    assert find_config(tmp_path / "a", "cog-gpu.yaml") == tmp_path / "cog-gpu.yaml"
    assert find_config(tmp_path, str(tmp_path / "cog.yaml")) == tmp_path / "cog.yaml"


@pytest.mark.parametrize(
    ("present", "hint"),
    [
        ("nothing.txt", "change to a project's directory, or start one here with 'drivetrain init'"),
        ("predict.py", "there is a 'predict.py' here: 'drivetrain init' writes the 'cog.yaml' it needs"),
        ("cog.yml", "there is a 'cog.yml' here: rename it to 'cog.yaml', or pass -f cog.yml"),
    ],
)
def test_a_missing_config_says_where_it_looked_and_what_to_do(tmp_path, present, hint):
    (tmp_path / present).touch()
    with pytest.raises(ProjectError) as caught:
        find_config(tmp_path, None)
    assert caught.value.message == f"no 'cog.yaml' in '{tmp_path}' or any directory above it"
    assert caught.value.hint == hint


def test_a_project_is_loaded_with_its_warnings(tmp_path):
    (tmp_path / "cog.yaml").write_text("predict: predict.py:Predictor\nbuid: {}\n")
    loaded = load_project(tmp_path, None)
    assert loaded.project.root == tmp_path
    assert [finding.place for finding in loaded.warnings] == ["cog.yaml:2"]


def test_errors_are_raised_together_with_the_warnings(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "cog.yaml").write_text("predict: x\nconcurrency: 5\nbuid: {}\n")
    with pytest.raises(ProjectError) as caught:
        load_project(tmp_path / "sub", None)
    assert caught.value.message == "'../cog.yaml' has 2 errors"
    assert [finding.place for finding in caught.value.findings] == ["../cog.yaml:1", "../cog.yaml:2", "../cog.yaml:3"]


def test_a_directory_in_the_configs_place_is_refused(tmp_path):
    (tmp_path / "cog.yaml").mkdir()
    with pytest.raises(ProjectError) as caught:
        load_project(tmp_path, None)
    assert [finding.code for finding in caught.value.findings] == ["not-a-file"]


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [(b"build:\n  gpu: \xff\n", "not-utf8", 2), (b"#" * (LARGEST_CONFIG + 1), "file-too-large", None)],
)
def test_what_is_no_text_is_refused(tmp_path, content, code, line):
    (tmp_path / "cog.yaml").write_bytes(content)
    with pytest.raises(ProjectError) as caught:
        load_project(tmp_path, None)
    assert [(finding.code, finding.line) for finding in caught.value.findings] == [(code, line)]
