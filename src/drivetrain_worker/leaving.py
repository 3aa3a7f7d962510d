"""How a worker ends: soon after it was told to, and at once when its server is gone, with everything that the model started.

Models start servers as child processes, and wait for them in threads that Python would join for ever at its exit. So child
processes are ended first, and threads get a moment; then the interpreter ends, with or without them.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, Iterator, NoReturn

from drivetrain_worker import capture

#: Set by the server for every process of a worker; children that left the process group are found by it. The server ends them by
#: the same mark (``drivetrain.serving.family``): change one, change the other.
_FAMILY_MARK = b"DRIVETRAIN_WORKER="

#: How long tasks may take to obey their cancelation, and threads to end, each.
_PATIENCE_SECONDS = 1.0


def abandon() -> NoReturn:
    """The server is gone: end at once, with all child processes."""
    try:
        if _leads_its_group():
            end_relatives()
            os.killpg(0, signal.SIGKILL)
    finally:
        os._exit(1)


def end_relatives() -> None:
    """End every other process that the model has started and that carries the worker's mark."""
    for process in _relatives():
        _send(process, signal.SIGKILL)


def leave(loop: Any) -> None:
    """Get ready to return from ``main``: end tasks and child processes, and see to it that no thread holds the exit up.

    Handlers that the author registered with ``atexit`` run as ever, and what Python buffers for open files is written, as long as
    the threads have ended.

    Args:
        loop: The event loop of the model, if it has one.
    """
    if loop is not None:
        _close(loop)
    _end_children()
    if "threading" in sys.modules:
        _hurry_threads()


def _close(loop: Any) -> None:
    import asyncio

    try:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=_PATIENCE_SECONDS))
        loop.run_until_complete(asyncio.wait_for(loop.shutdown_asyncgens(), _PATIENCE_SECONDS))
    except Exception as error:  # noqa: BLE001 (the author's clean-up failed; the worker ends all the same)
        capture.write_error("the model's tasks did not end well: %s: %s\n" % (type(error).__name__, error))
    loop.close()


def _end_children() -> None:
    if _leads_its_group():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)


def _hurry_threads() -> None:
    """End the process if threads have not ended in time.

    Python joins them before it runs ``atexit`` handlers, the one registered last first: once ours runs, they have ended.
    """
    import atexit
    import threading

    threads_ended = threading.Event()

    def end_without_threads() -> None:
        if not threads_ended.wait(_PATIENCE_SECONDS):
            atexit._run_exitfuncs()  # noqa: SLF001 (there is no public way to run them in a thread that is not the main one)
            capture.flush()
            os._exit(0)

    atexit.register(threads_ended.set)
    threading.Thread(target=end_without_threads, daemon=True).start()


def _leads_its_group() -> bool:
    """Whether the process group is ours to signal."""
    return os.getpgrp() == os.getpid()


def _relatives() -> Iterator[int]:
    """Other processes that carry the worker's mark, where the kernel shows environments."""
    mark = next((entry for entry in _environment("self") if entry.startswith(_FAMILY_MARK)), None)
    if mark is None:
        return
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid() and mark in _environment(name):
            yield int(name)


def _environment(process: str) -> Any:
    """The environment a process was started with."""
    try:
        with open("/proc/%s/environ" % process, "rb") as file:
            return file.read().split(b"\0")
    except OSError:  # not ours to see, already gone, or no such file system
        return []


def _send(process: int, number: int) -> None:
    try:
        os.kill(process, number)
    except OSError:  # it has ended meanwhile
        pass
