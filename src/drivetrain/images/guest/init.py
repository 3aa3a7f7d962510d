"""The first process of a container: runs a command, passes signals on to it, buries processes that have lost their parents.

The kernel gives the first process no default action for signals, and makes it the parent of every orphan. A server does not
expect either.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

#: Not to be passed on: they are about the process that gets them. SIGTTIN and SIGTTOU stop whoever touches a terminal.
_OWN = {
    signal.SIGCHLD,
    signal.SIGKILL,
    signal.SIGSTOP,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGABRT,
    signal.SIGTRAP,
    signal.SIGSYS,
    signal.SIGTTIN,
    signal.SIGTTOU,
}


def main(command: list[str]) -> int:
    """Run a command to its end; its exit status, as a shell would give it."""
    numbers = set(signal.valid_signals()) - _OWN
    # Blocked until the child is known: a signal that comes in between is not lost.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _become(command)
    for number in numbers:
        try:
            signal.signal(number, lambda number, _frame: _pass_on(child, number))
        except OSError:  # some of libc's own
            continue
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return _bury_until(child)


def _become(command: list[str]) -> None:
    """Replace this process."""
    try:
        os.execvp(command[0], command)  # noqa: S606 (no shell is wanted)
    except OSError as error:
        sys.stderr.write(f"cannot run '{command[0]}': {error.strerror}\n")
        sys.stderr.flush()
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def _pass_on(child: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)


def _bury_until(child: int) -> int:
    """Wait for processes, whosoever they were, until the child has ended."""
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


if __name__ == "__main__":
    words = sys.argv[2:] if sys.argv[1:2] == ["--"] else sys.argv[1:]
    sys.exit(main(words) if words else 0)
