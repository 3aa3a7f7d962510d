"""A second start of the same server is early, and never of what was there before."""

import pytest

SOURCE = """
    import os, sys
    AT_IMPORT = os.environ.get("WORD")

    class Predictor:
        def predict(self) -> list:
            return [AT_IMPORT, os.environ.get("OTHER"), os.getcwd(), os.path.dirname(sys.executable)]
"""

CONFIG = "predict: predict.py:Predictor\nenvironment:\n  - WORD=first\n"


@pytest.fixture
def made(project):
    return project(SOURCE, config=CONFIG)


def answer(made, *options):
    with made.serve(*options) as server:
        assert server.footprint().children == 1
        return server.predict()["output"]


def test_a_second_start_is_as_the_first(made):
    first = answer(made)
    assert first[:3] == ["first", None, str(made.root)]
    assert answer(made) == answer(made) == first


def test_a_changed_config_counts_at_once(made):
    answer(made)
    (made.root / "cog.yaml").write_text(CONFIG.replace("first", "other"))
    assert [answer(made)[0], answer(made)[0]] == ["other", "other"]


def test_a_changed_source_counts_at_once(made):
    answer(made)
    text = (made.root / "predict.py").read_text()
    (made.root / "predict.py").write_text(text.replace('"OTHER"', '"WORD"'))
    assert answer(made)[1] == "first"


def test_another_entry_point_counts_at_once(made):
    answer(made)
    (made.root / "cog.yaml").write_text("predict: other.py:Predictor\n")
    (made.root / "other.py").write_text("class Predictor:\n    def predict(self) -> str:\n        return 'other'\n")
    assert answer(made) == "other"


def test_variables_of_the_shell_and_of_the_command_line_count_at_once(made):
    answer(made)
    made.environ["OTHER"] = "shell"
    assert answer(made)[1] == "shell"
    assert answer(made, "-e", "OTHER=said")[1] == "said"
    assert answer(made)[1] == "shell"


def test_more_workers_and_templates_are_started_as_ever(made):
    answer(made)
    with made.serve("--workers", "2", "--snapshot", "off") as server:
        assert server.predict()["output"][0] == "first"
    with made.serve("--snapshot", "imports") as server:
        assert server.predict()["output"][0] == "first"


def test_errors_of_a_project_are_the_same(made):
    answer(made)
    (made.root / "cog.yaml").write_text("predict: 1\n")
    first, second = (made.cli("serve") for _ in range(2))
    assert first.returncode == 1
    assert first.stderr == second.stderr
    assert "is not of the form" in first.stderr
