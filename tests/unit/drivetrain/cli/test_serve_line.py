"""The quick reading of ``serve``'s command line and click's are one."""

import click
import msgspec
import pytest

from drivetrain.cli.serve import command
from drivetrain.cli.serve_line import ServeLine
from drivetrain.cli.serve_words import read_words

NOT_SAID = {"words", "engine", "gpus", "platform", "threads"}


def by_click(words):
    parameters = command.make_context("serve", list(words)).params
    return ServeLine(**{name: value for name, value in parameters.items() if name not in NOT_SAID})


@pytest.mark.parametrize(
    "line",
    [
        "",
        "-p 80",
        "--port 0 --host 0.0.0.0",
        "--port=65535 --host=::",
        "--port 1 --port 2",
        "--workers 4 --queue 7",
        "--workers 256 --max-predictions 1000",
        "--env host",
        "--env=venv -f cog.gpu.yaml",
        "--file other/cog.yaml",
        "-e A=1 -e B=2=3 --environment C=",
        "--environment=D=4",
        "-e nonsense",
        "--snapshot auto",
        "--snapshot after-setup --reload",
        "--reload --allow-private-addresses --stream-marked-only",
        "--upload-url http://x/{id} --cors-origin *",
        "--max-body-size 1 --x-mode train",
        "--max-body-size 007",
    ],
)
def test_plain_words_are_read_as_click_reads_them(line):
    words = line.split()
    assert ServeLine(**read_words(["serve", *words])) == by_click(words)


@pytest.mark.parametrize(
    "line",
    [
        "run",
        "--debug serve",
        "serve --help",
        "serve registry.example.com/team/model",
        "serve -- --port 1",
        "serve --port",
        "serve --port=",
        "serve --port 70000",
        "serve --port -1",
        "serve --port +1",
        "serve --port 1_0",
        "serve --port ٣",
        "serve -p80",
        "serve --workers 0",
        "serve --env docker",
        "serve --snapshot OFF",
        "serve --host --reload",
        "serve --reload=yes",
        "serve --setup-timeout 3",
        "serve --await-explicit-shutdown",
        "serve --gpus all",
        "serve --prot 1",
        "serve --",
    ],
)
def test_all_else_is_left_to_click(line):
    assert read_words(line.split()) is None


def test_nothing_said_is_left_to_click():
    assert read_words([]) is None


def test_a_line_has_every_option_with_its_default():
    defaults = {
        parameter.name: parameter.get_default(click.Context(command)) for parameter in command.params if parameter.expose_value
    }
    line = msgspec.structs.asdict(ServeLine())
    assert {*line, *NOT_SAID} == set(defaults)
    assert by_click(()) == ServeLine()
