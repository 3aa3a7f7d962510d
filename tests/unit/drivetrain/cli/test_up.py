"""How a platform is told to run."""

import io
from datetime import datetime, timedelta, timezone

import pytest
from click.testing import CliRunner

from drivetrain.cli import platform_server
from drivetrain.cli.terminal import Terminal
from drivetrain.cli.up import command


@pytest.fixture
def up(tmp_path, monkeypatch):
    """Gives the command options: what it says, and the platform's options if it would have run."""

    def run(*arguments):
        taken = []
        monkeypatch.setattr(platform_server, "run", lambda options, *_rest: taken.append(options.platform))
        terminal = Terminal(io.StringIO(), has_color=False, is_interactive=False)
        done = CliRunner().invoke(command, ["--port", "0", "--state", str(tmp_path), *arguments], obj=terminal)
        return done.output, *taken

    return run


@pytest.mark.parametrize("option", ["--keep-files", "--keep-data", "--quota", "--max-file-size", "--stop-grace"])
@pytest.mark.parametrize("value", ["nan", "inf", "1e20", "-1"])
def test_an_amount_that_cannot_be_reckoned_with_is_refused(up, option, value):
    (said,) = up(option, value)
    assert f"Invalid value for '{option}'" in said


def test_for_ever_is_a_hundred_years(up):
    _, options = up("--keep-files", "876000", "--keep-data", "36500", "--stop-grace", "3153600000", "--quota", "1e9")
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    century = timedelta(days=36500)
    assert (now + options.keep_files, now - options.keep_data, options.stop_grace) == (now + century, now - century, century)
    assert options.quota_bytes < 2**63


def test_data_are_kept_as_long_as_it_says_though_records_are_kept_for_less(up):
    _, usual = up()
    _, longer = up("--keep-data", "365")
    assert usual.keep_data < usual.keep_records
    assert longer.keep_records == longer.keep_data == timedelta(days=365)
