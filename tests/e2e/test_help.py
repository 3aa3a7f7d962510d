"""What the command line says of itself, and to those who mistype, word for word.

`drivetrain --help` and the like are part of the product; a changed word shows here. After a change that is meant:
`make docs`, which writes the commands' help into docs/reference, where tests compare it too.
"""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from drivetrain import __version__
from drivetrain.cli.command_line import COMMANDS

DRIVETRAIN = Path(sys.executable).parent / "drivetrain"
REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "command-line.md"

TOP = """\
Usage: drivetrain [OPTIONS] COMMAND [ARGS]...

  Run Cog projects unchanged, on this machine, without Docker.

  In a directory with a cog.yaml:

      drivetrain run -i prompt="a horse" -i image=@photo.jpg
      drivetrain serve

Options:
  -V, --version  Show the version and exit.
  --debug        Show tracebacks of drivetrain's own errors.
  --no-color     Write without colours; the environment variable NO_COLOR does the same.
  -h, --help     Show this message and exit.

Commands:
  init         Write a new project that runs as it is.
  run          Run a prediction.
  serve        Serve predictions over HTTP.
  exec         Run a command inside the project's environment.
  train        Run a training.
  build        Build an image.
  push         Build an image and send it to a registry.
  pull         Bring an image here from a registry.
  inspect      Show what an image is.
  login        Keep credentials for a registry.
  up           Start a platform on this machine.
  down         Stop the platform on this machine.
  deploy       Deploy a project to a platform.
  call         Run a prediction of an app on a platform.
  apps         List the apps of a platform.
  runners      List, or stop, the runners of a platform.
  predictions  List, show and cancel predictions on a platform.
  logs         Show what an app's runners write outside of predictions.
  queue        Show what waits and runs on a platform.
  secrets      Keep secrets for apps on a platform.
  keys         Make and revoke API keys of a platform.
  scale        Change how an app on a platform scales.
  rollback     Let an earlier revision of an app answer again.
  rm           Remove an app from a platform.
  doctor       Look a project over, and mend what can be mended.
  debug        Show how the project is understood.
"""


def drivetrain(*arguments, directory):
    environ = {"PATH": os.environ["PATH"], "HOME": str(directory), "COLUMNS": "102"}
    done = subprocess.run([DRIVETRAIN, *arguments], cwd=directory, env=environ, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["-h"]])
def test_help(tmp_path, arguments):
    assert drivetrain(*arguments, directory=tmp_path) == (0, TOP, "")


@pytest.mark.parametrize("argument", ["--version", "-V"])
def test_version(tmp_path, argument):
    assert drivetrain(argument, directory=tmp_path) == (0, f"drivetrain {__version__}\n", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_is_what_the_reference_shows(tmp_path, command):
    status, shown, _ = drivetrain(command, "--help", directory=tmp_path)
    stripped = "\n".join(line.rstrip() for line in shown.splitlines())
    assert status == 0
    assert f"## `drivetrain {command}`\n\n```\n{stripped}\n```\n" in REFERENCE.read_text(encoding="utf-8")


def test_without_arguments_the_help_is_shown(tmp_path):
    status, _, shown = drivetrain(directory=tmp_path)
    assert (status, shown.strip()) == (2, TOP.strip())


MISTAKES = {
    "an unknown command": (
        ["frobnicate"],
        2,
        """\
        error: there is no command 'frobnicate'
         hint: 'drivetrain --help' lists the commands
        """,
    ),
    "a mistyped command": (
        ["rnu"],
        2,
        """\
        error: there is no command 'rnu'
         hint: did you mean 'run'?
        """,
    ),
    "an unknown option": (
        ["run", "--frobnicate"],
        2,
        """\
        error: No such option '--frobnicate'
         hint: 'drivetrain run --help' lists what it takes
        """,
    ),
    "a value of the wrong kind": (
        ["serve", "--port", "many"],
        2,
        """\
        error: Invalid value for '-p' / '--port': 'many' is not a valid integer range
         hint: 'drivetrain serve --help' lists what it takes
        """,
    ),
    "a command where a project is run": (
        ["run", "python", "train.py"],
        2,
        """\
        error: run takes no 'python': it runs the project in this directory
         hint: to run a command in the project's environment: drivetrain exec python train.py
        """,
    ),
    "no project": (
        ["run"],
        1,
        """\
        error: no 'cog.yaml' in '{directory}' or any directory above it
         hint: change to a project's directory, or start one here with 'drivetrain init'
        """,
    ),
    "no command to run": (
        ["exec"],
        2,
        """\
        error: Missing argument 'COMMAND [ARGUMENT]...'
         hint: 'drivetrain exec --help' lists what it takes
        """,
    ),
    "an output that cannot be written": (
        ["run", "-o", "nowhere/result.png"],
        2,
        """\
        error: cannot write to 'nowhere/result.png': there is no directory 'nowhere'
        """,
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_remedy(tmp_path, mistake):
    arguments, status, message = MISTAKES[mistake]
    expected = textwrap.dedent(message).format(directory=tmp_path)
    assert drivetrain(*arguments, directory=tmp_path) == (status, "", expected)


def test_a_config_with_errors_is_told_all_of_them(tmp_path):
    (tmp_path / "cog.yaml").write_text("build:\n  python_version: 3.1\n  gpus: true\npredict: predict.py\n")
    assert drivetrain("run", directory=tmp_path) == (
        1,
        "",
        textwrap.dedent("""\
        error: cog.yaml:2: Python 3.1 is older than the oldest that works, 3.8
         hint: write "3.10"
        error: cog.yaml:4: 'predict: predict.py' is not of the form 'file.py:Name'
         hint: write 'predict: predict.py:Predictor'
        warning: cog.yaml:3: 'build.gpus' is not a key of cog.yaml; did you mean 'gpu'?
        error: 'cog.yaml' has 2 errors
        """),
    )


def test_inputs_that_do_not_fit_are_told_all_at_once(tmp_path):
    (tmp_path / "cog.yaml").write_text("predict: predict.py:predict\n")
    (tmp_path / "predict.py").write_text("def predict(text: str, size: int = 1) -> str:\n    return text * size\n")
    problems = [
        "'size': must be an integer, not the string 'big'",
        "'text': Field required",
        "'txt': is not an input of the model; did you mean 'text'?",
    ]
    told = drivetrain("run", "-i", "size=big", "-i", "txt=Hi", directory=tmp_path)
    assert told == (2, "", f"error: invalid input {'; '.join(problems)}\n")
