"""``python -m cog.server.http``: the command line with which images of Cog start, and which platforms know.

Run by the model's Python, it makes way for the server, which runs in an interpreter of its own.
"""

from __future__ import annotations

import os
import shutil
import sys

#: What Cog's server listens on.
_PORT = "5000"
_HOST = "0.0.0.0"  # noqa: S104 (in a container, where the host decides what is reachable)


def main(arguments: list[str]) -> None:
    """Become the server.

    Args:
        arguments: Options of Cog's server, and any other of ``drivetrain serve``.
    """
    command = _server_command()
    if arguments in (["-v"], ["--version"]):
        command += ["--version"]
    else:
        command += ["serve", "--env", "host", "--host", _HOST, "--port", os.environ.get("PORT") or _PORT]
        command += _limits() + _joined(arguments)
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606 (no shell is wanted)


def _joined(arguments: list[str]) -> list[str]:
    """With a value that stands by itself put to its option: Cog's flag takes one always, ours may do without."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] == "--await-explicit-shutdown" and not argument.startswith("-"):
            joined[-1] += "=" + argument
        else:
            joined.append(argument)
    return joined


def _limits() -> list[str]:
    """What Cog's server takes from the environment and ours from its command line."""
    text = os.environ.get("COG_SETUP_TIMEOUT", "")
    return ["--setup-timeout", text] if text.isdigit() and int(text) > 0 else []


def _server_command() -> list[str]:
    """How to start ``drivetrain``: that which this module belongs to, else the one on PATH."""
    directory = os.path.dirname(os.path.abspath(__file__))
    while os.path.dirname(directory) != directory:
        directory = os.path.dirname(directory)
        python = os.path.join(directory, "bin", "python")
        if os.path.exists(os.path.join(directory, "bin", "drivetrain")) and os.path.exists(python):
            init = os.path.join(directory, "init.py")
            # A platform that names this command itself makes it the first process, which needs to bury the others.
            first = [python, "-IS", init, "--"] if os.getpid() == 1 and os.path.exists(init) else []
            return first + [python, "-I", "-m", "drivetrain"]
    found = shutil.which("drivetrain")
    if found is None:
        raise SystemExit("drivetrain is not installed beside this module nor on PATH; start the server with 'drivetrain serve'")
    return [found]


if __name__ == "__main__":
    main(sys.argv[1:])
