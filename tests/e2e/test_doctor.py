"""`drivetrain doctor`, as it is typed."""

import json

SICK = """\
    from typing import List
    from cog import BasePredictor, Input
    from cog.types import Path  # from where it was once

    class Predictor(BasePredictor):
        def predict(self, image: Path, seed: int = Input(default=None)) -> List[Path]:
            print(seed)
            return [image]
"""
CONFIG = """\
build:
  fast: true
  run:
    - pip install something # by hand
predict: predict.py:Predictor
"""


def test_a_healthy_project_is_told_so(project):
    made = project("class Runner:\n    def run(self) -> int:\n        return 1\n", config="run: predict.py:Runner\n")
    done = made.cli("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("ok       config-parse: the config is proper YAML\n")
    assert done.stdout.endswith("\n\nNothing to complain of\n")


def test_findings_come_with_place_and_remedy_and_change_nothing(project):
    made = project(SICK, config=CONFIG)
    done = made.cli("doctor")
    assert done.returncode == 0
    assert "warning  config-build-commands\n  cog.yaml:4: 'pip install something' belongs to an image build" in done.stdout
    assert done.stdout.endswith("3 warnings, 2 notes; --fix mends 3 of them\n")
    assert (made.root / "cog.yaml").read_text() == CONFIG


def test_fix_mends_shows_what_it_did_and_finds_nothing_the_second_time(project):
    made = project(SICK, config=CONFIG)
    done = made.cli("doctor", "--fix")
    assert "Changed cog.yaml\n  -  fast: true\n" in done.stdout
    assert (
        "  -from cog.types import Path  # from where it was once\n  +from cog import Path  # from where it was once\n"
        in done.stdout
    )
    again = made.cli("doctor", "--fix")
    assert "Changed" not in again.stdout
    assert again.stdout.endswith("1 warning, 1 note\n")


def test_a_mended_project_runs_as_before(project):
    made = project(SICK, config=CONFIG)
    made.write("cat.png", "a cat")
    before = made.run("-i", "image=@cat.png", "-o", "before.png")
    made.cli("doctor", "--fix")
    after = made.run("-i", "image=@cat.png", "-o", "after.png")
    assert (before.returncode, after.returncode) == (0, 0), after.stderr
    assert "None" in after.stderr


def test_an_error_is_told_by_the_status(project):
    done = project("def other(): ...\n").cli("doctor")
    assert done.returncode == 1
    assert "error    config-predict-ref\n  predict.py: 'predict.py' has no class or function 'Predictor'\n    hint: " in done.stdout


def test_a_config_with_errors_is_read_as_far_as_it_goes(project):
    done = project("", config="build: {python_version: 3.1}\n").cli("doctor")
    assert done.returncode == 1
    assert '  cog.yaml:1: Python 3.1 is older than the oldest that works, 3.8\n    hint: write "3.10"\n' in done.stdout
    assert "skipped  config-predict-ref" in done.stdout


def test_json_is_for_programs(project):
    report = json.loads(project(SICK, config=CONFIG).cli("doctor", "--json").stdout)
    assert set(report) == {"config", "checks", "changed"}
    checks = {check["name"]: check for check in report["checks"]}
    assert checks["config-parse"] == {"name": "config-parse", "status": "ok", "findings": []}
    (finding,) = checks["python-optional-inputs"]["findings"]
    assert set(finding) == {"severity", "code", "problem", "remedy", "file", "line", "mendable"}
    assert (finding["severity"], finding["file"], finding["line"], finding["mendable"]) == ("warning", "predict.py", 6, True)


def test_another_config_is_looked_over_by_its_name_from_below(project):
    made = project(SICK)
    made.write("gpu.yaml", "predict: predict.py:Nobody\n")
    below = made.root / "below"
    below.mkdir()
    done = made.cli("doctor", "-f", "gpu.yaml", cwd=below)
    assert (done.returncode, "'Nobody'" in done.stdout) == (1, True)


def test_without_a_project_there_is_nothing_to_look_over(project, tmp_path):
    done = project(SICK).cli("doctor", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no 'cog.yaml'" in done.stderr


def test_an_environment_that_is_made_says_that_build_commands_are_not_run(project):
    # The build ends at once, at a variable that is not set, so nothing is fetched.
    config = "build:\n  python_packages: ['--extra-index-url https://${UNSET}@example.com/']\n  run: [make]\npredict: predict.py:Predictor\n"
    done = project("class Predictor:\n    def predict(self) -> int: ...\n", config=config).run(env=None)
    assert done.returncode == 1
    assert "warning: what 'build.run' does belongs to an image build and is not done here; see 'drivetrain doctor'\n" in done.stderr
