"""``drivetrain down``: stop the platform on this machine."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import click

from drivetrain.cli.terminal import Terminal
from drivetrain.model.errors import OutsideFailed
from drivetrain.settings import read_settings


@click.command(name="down", short_help="Stop the platform on this machine.")
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIRECTORY",
    help="State directory of the platform. [default: ~/.local/share/drivetrain]",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="How long it may take, before it is killed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
@click.pass_obj
def command(terminal: Terminal, state: Path | None, timeout: float, as_json: bool) -> int:
    """Stop the platform on this machine. Predictions that run may end within its grace; those that wait are kept, and run
    when it is started again."""
    from drivetrain.cli.outputs import write_json
    from drivetrain.cli.state_lock import read_holder, wait_until_free

    directory = (state or read_settings(os.environ).state_directory).absolute()
    holder = read_holder(directory)
    if holder is None:
        if as_json:
            write_json({"stopped": False}, indent=True)
        else:
            terminal.note(f"No platform runs on '{directory}'")
        return 0
    _signal(holder.pid, signal.SIGTERM)
    if not wait_until_free(directory, timeout):
        terminal.warn(f"it has not ended within {timeout:g} s and is killed")
        _signal(holder.pid, signal.SIGKILL)
        if not wait_until_free(directory, 10):
            raise OutsideFailed(f"process {holder.pid} cannot be ended")
    if as_json:
        write_json({"stopped": True, "pid": holder.pid, "url": holder.url}, indent=True)
    else:
        terminal.note(f"Stopped the platform at {holder.url}")
    return 0


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        raise OutsideFailed(f"process {pid} belongs to somebody else, who must stop it") from error
