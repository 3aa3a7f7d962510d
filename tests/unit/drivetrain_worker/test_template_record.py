"""What a worker records of its imports, and how a template goes through it."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[3] / "src"


@pytest.fixture
def python(tmp_path):
    """Run code in a process of its own, with a project in `project` and libraries in `libraries`."""
    (tmp_path / "project").mkdir()
    (tmp_path / "libraries").mkdir()

    def run(code):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{SOURCES}:{tmp_path / 'libraries'}:{tmp_path / 'project'}"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    run.write = lambda name, text: (tmp_path / name).write_text(text)
    return run


def test_the_journal_holds_libraries_and_changes_in_their_order_but_not_what_is_the_projects_own(python):
    python.write("project/own.py", "import os\nimport first\nos.environ['A'] = '1'\nimport second\nos.environ['B'] = '2'\n")
    python.write("libraries/first.py", "")
    python.write("libraries/second.py", "try:\n    import nothing_of_the_kind\nexcept ImportError:\n    pass\n")
    lines = python(
        """
        import os
        from drivetrain_worker.template_record import ImportRecorder
        recorder = ImportRecorder(os.path.abspath("project"))
        recorder.begin()
        import own
        recorder.loaded()
        import colorsys
        os.environ["LATE"] = "1"
        import tabnanny
        recorder.end()
        recorder.end()
        report = recorder.report()
        for kind, name, value in report["journal"]:
            if name in ("first", "second", "own", "nothing_of_the_kind", "A", "B", "LATE", "colorsys", "tabnanny"):
                print(kind, name, os.path.basename(value))
        print(report["changes"])
        """
    )
    assert lines == [
        "import first first.py",
        "set A 1",
        "import second second.py",
        "set B 2",
        "import colorsys colorsys.py",
        "{'A': '1', 'B': '2'}",
    ]


def test_a_replay_shows_each_library_what_it_would_have_seen_and_takes_back_what_is_the_projects(python):
    python.write("libraries/first.py", "import os\nSEEN = os.environ.get('A')\nos.environ['OF_FIRST'] = 'yes'\n")
    python.write("libraries/second.py", "import os\nSEEN = os.environ.get('A')\n")
    python.write("libraries/broken.py", "raise SystemExit(1)\n")
    lines = python(
        """
        import os
        from drivetrain_worker.template_record import ImportReplay
        libraries = os.path.abspath("libraries")
        journal = [
            ["import", "broken", None], ["import", "first", libraries + "/first.py"], ["set", "A", "1"],
            ["import", "second", libraries + "/second.py"],
        ]
        replay = ImportReplay(os.path.abspath("project"), journal)
        print(replay.run(lambda name: None))
        import first, second
        print(first.SEEN, second.SEEN, os.environ.get("A"), replay.kept)
        """
    )
    assert lines == ["None", "None 1 None {'OF_FIRST': 'yes'}"]


def test_a_library_from_another_place_than_recorded_is_a_reason(python):
    python.write("libraries/twice.py", "")
    lines = python(
        """
        from drivetrain_worker.template_record import ImportReplay
        print(ImportReplay("project", [["import", "twice", "/elsewhere/twice.py"]]).run(lambda name: None))
        """
    )
    assert lines[0].startswith("'twice' is imported from '/elsewhere/twice.py' in the project, and from ")


def test_a_library_that_imports_the_projects_files_is_a_reason(python):
    python.write("libraries/curious.py", "import own\n")
    python.write("project/own.py", "")
    lines = python(
        """
        import os
        from drivetrain_worker.template_record import ImportReplay
        journal = [["import", "curious", os.path.abspath("libraries/curious.py")]]
        print(ImportReplay(os.path.abspath("project"), journal).run(lambda name: None))
        """
    )
    assert lines == ["a library imports the project's own 'own'"]
