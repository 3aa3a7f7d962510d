"""The first process of a container, started as an ordinary one."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from programs import Program

import drivetrain.images.guest.init as init

INIT = [sys.executable, "-IS", str(Path(init.__file__)), "--"]


@pytest.mark.parametrize(
    ("words", "status"),
    [(["true"], 0), (["sh", "-c", "exit 7"], 7), (["sh", "-c", "kill -9 $$"], 137), (["no-such-program"], 127), (["/"], 126)],
)
def test_its_exit_status_is_that_of_the_command(words, status):
    assert subprocess.run([*INIT, *words], stderr=subprocess.DEVNULL).returncode == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_are_passed_on(number):
    script = f"import signal, sys\nsignal.signal({int(number)}, lambda *_: sys.exit(5))\nprint('ready', flush=True)\nsignal.pause()"
    with Program([*INIT, sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(30) == 5
