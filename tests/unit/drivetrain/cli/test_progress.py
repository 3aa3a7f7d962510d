"""How progress is shown."""

import io
import sys

from drivetrain.cli.progress import progress_on
from drivetrain.cli.terminal import Terminal


def shown(*, is_interactive):
    stream = io.StringIO()
    with progress_on(Terminal(stream, has_color=False, is_interactive=is_interactive)) as progress:
        progress.step("Fetching")
        progress.detail("half of it")
        progress.step("Packing")
    return stream.getvalue()


def test_without_a_terminal_each_step_is_a_line():
    assert shown(is_interactive=False) == "Fetching\nPacking\n"


def test_on_a_terminal_steps_that_are_done_stay():
    assert "  Fetching\n  Packing\n" in shown(is_interactive=True)


def test_an_image_has_nothing_that_draws_on_a_terminal_and_does_without(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert shown(is_interactive=True) == "Fetching\nPacking\n"
