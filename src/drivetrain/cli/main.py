"""The ``drivetrain`` command: runs what the command line says, turns errors into messages and exit statuses.

Exit status 0: done. 1: the prediction, the project or the world outside failed. 2: misuse. 130: interrupted.

What starts a server in the usual way comes first and imports little: that library for command lines, and with it half of what an
interpreter imports until then, is left out where the words can be read without it.
"""

from __future__ import annotations

import gc
import os
import signal
import sys

from drivetrain.cli.early_start import EarlyStart
from drivetrain.cli.serve_words import read_words

TYPE_CHECKING = False
if TYPE_CHECKING:  # without the module that has it, which takes longer to import than all of these
    from collections.abc import Mapping
    from typing import Any

    from drivetrain.cli.terminal import Terminal

#: Inputs that do not fit are misuse of the command line. The code is compared, not the class, to import its module only on need.
_INVALID_INPUTS = "invalid_inputs"


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit the process."""
    gc.disable()  # while modules are imported, nothing becomes garbage, and to look for it takes a tenth of the time
    for number in (signal.SIGTERM, signal.SIGHUP):  # as an exception, so that what was begun is ended and cleaned up
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves SIGHUP: we are to outlive the terminal
            signal.signal(number, _terminate)
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def _terminate(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def run(arguments: list[str]) -> int:
    """Run the command line; the exit status."""
    said = read_words(arguments)
    early = EarlyStart(said, os.environ)  # before what follows is imported
    try:
        return _run(arguments, said, early)
    finally:
        early.close()


def _run(arguments: list[str], said: Mapping[str, Any] | None, early: EarlyStart) -> int:
    from drivetrain.cli.terminal import Terminal
    from drivetrain.model.errors import DrivetrainError, InternalError, Misuse

    debug = "--debug" in arguments
    terminal = Terminal.of_process(os.environ, color=False if "--no-color" in arguments else None, debug=debug)
    try:
        if said is not None:
            return _serve(said, early, terminal)
        from drivetrain.cli.command_line import carry_out

        gc.enable()
        return carry_out(arguments, terminal)
    except KeyboardInterrupt:
        return 130
    except DrivetrainError as error:
        if debug:
            raise
        terminal.show(error)
        return 2 if isinstance(error, Misuse) or error.code == _INVALID_INPUTS else 1
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if debug:
            raise
        terminal.error(_describe_os_error(error))
        return 1
    except Exception as error:
        if debug:
            raise
        terminal.show(
            InternalError(
                f"drivetrain met a bug of its own: {type(error).__name__}: {error}", hint="--debug shows where; please report it"
            )
        )
        return 1


def _serve(said: Mapping[str, Any], early: EarlyStart, terminal: Terminal) -> int:
    from drivetrain.cli.serve_line import ServeLine
    from drivetrain.cli.starting import start

    return start(ServeLine(**said), terminal, early)


def _describe_os_error(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{reason}: '{error.filename}'" if error.filename is not None else reason
