"""The examples are projects without fault, and their page names them all."""

from pathlib import Path

import pytest

from drivetrain.dialects.cog.discovery import load_project

EXAMPLES = Path(__file__).parents[3] / "examples"
PROJECTS = sorted(config.parent for config in EXAMPLES.glob("*/cog.yaml"))


@pytest.mark.parametrize("directory", PROJECTS, ids=lambda directory: directory.name)
def test_every_example_is_a_project_without_findings(directory):
    loaded = load_project(directory, None)
    assert loaded.warnings == ()
    for reference in filter(None, (loaded.project.predict, loaded.project.train)):
        assert (directory / reference.file).is_file()


@pytest.mark.parametrize("directory", PROJECTS, ids=lambda directory: directory.name)
def test_no_example_asks_for_a_python_that_a_machine_may_lack(directory):
    assert load_project(directory, None).project.environment.python_version is None


def test_the_page_names_every_example_and_picture():
    page = (EXAMPLES / "README.md").read_text()
    for directory in PROJECTS:
        assert f"({directory.name})" in page
    for picture in EXAMPLES.glob("*/*.png"):
        assert f"`{picture.relative_to(EXAMPLES)}`" in page
