"""`drivetrain debug`: what is made of a project, without running it."""

import json

SOURCE = """
    from cog import BasePredictor, Input

    raise RuntimeError("nothing of the project is run")

    class Predictor(BasePredictor):
        def predict(self, text: str = Input(max_length=5)) -> str:
            return text
"""

CONFIG = """\
build:
  python_version: 3.10
  python_packages: [six==1.16.0]
environment: [TOKEN=very-secret]
predict: predict.py:Predictor
"""


def test_debug_shows_project_environment_signature_and_api_and_runs_nothing(project):
    done = project(SOURCE, config=CONFIG).cli("debug", "-e", "OTHER=also-secret")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["project"]["environment"]["python_version"] == "3.10"
    assert shown["project"]["environment"]["requirements"] == ["six==1.16.0"]
    assert shown["environment"]["is_ready"] is False
    predict = shown["signatures"]["predict"]
    assert predict["signature"]["inputs"][0]["max_length"] == 5
    assert "Input" in predict["openapi"]["components"]["schemas"]


def test_values_of_variables_are_left_out(project):
    done = project(SOURCE, config=CONFIG).cli("debug", "-e", "OTHER=also-secret")
    assert "TOKEN" in done.stdout
    assert "secret" not in done.stdout
