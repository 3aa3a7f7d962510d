"""Messages to people."""

import contextlib
import os

import pytest

from drivetrain.cli.terminal import Terminal


@pytest.mark.parametrize("make", [os.openpty, os.pipe], ids=["terminal", "pipe"])
def test_nobody_who_listens_is_no_failure(make):
    theirs, ours = make()
    os.close(theirs)
    stream = os.fdopen(ours, "w")
    Terminal(stream, has_color=False, is_interactive=False).note("said")
    with contextlib.suppress(OSError):  # it still holds what nobody reads
        stream.close()
