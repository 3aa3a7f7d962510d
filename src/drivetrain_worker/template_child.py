"""Make a process that was just forked from a template what a worker is that was started afresh."""

from __future__ import annotations

import fcntl
import gc
import os
import re
import signal
import sys
from typing import Any, Dict, List, Mapping, Optional

from drivetrain_worker import forked
from drivetrain_worker.template_record import Changes, apply

#: As in ``leaving``: what a worker's processes are found by.
_FAMILY_VARIABLE = "DRIVETRAIN_WORKER"

#: What all processes of a platform's runner are found by, where there is one.
_RUNNER_VARIABLE = "DRIVETRAIN_LIFELINE"

#: Fields of ``/proc/self/stat`` after the name in brackets: where the variables stand that the process was started with.
_ENVIRONMENT_BEGINS, _ENVIRONMENT_ENDS = 47, 48

#: What only makes sense when a file is opened for the first time.
_FIRST_TIME_FLAGS = os.O_CREAT | os.O_EXCL | os.O_TRUNC


class Descriptors:
    """The descriptors of a worker to be: where its frames go, and where its output goes."""

    def __init__(self, connection: int, log: int) -> None:
        self.connection = connection
        self.log = log


def become_worker(descriptors: Descriptors, order: Mapping[str, Any], kept: Changes, files: List[int]) -> None:
    """Leave the template's session, output, variables, file positions and random numbers behind.

    Args:
        descriptors: The worker's own; ``log`` becomes its standard output and error.
        order: The environment that a fresh worker would have, and the limits that it would be under.
        kept: What libraries (or the set-up) have changed in it.
        files: Descriptors of regular files that are open.
    """
    os.setsid()
    for stream in (1, 2):
        os.dup2(descriptors.log, stream, inheritable=True)
    os.close(descriptors.log)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGIO):
        signal.signal(number, signal.SIG_DFL)
    _obey_limits(order)
    _mark(order["variables"])
    _set_variables(order["variables"], kept)
    for file in files:
        _open_anew(file)
    _reseed()
    forked.adopt()
    gc.enable()


def _obey_limits(order: Mapping[str, Any]) -> None:
    """What a process has from its parent is to be as if whoever asked for the worker were its parent."""
    import resource

    for name, wanted in order["limits"].items():
        number = getattr(resource, name, None)
        if number is not None and resource.getrlimit(number) != tuple(wanted):
            resource.setrlimit(number, tuple(wanted))
    os.umask(order["umask"])
    with open("/proc/self/oom_score_adj", "r+", encoding="ascii") as file:
        if int(file.read()) != order["out_of_memory_score"]:
            file.seek(0)
            file.write(str(order["out_of_memory_score"]))


def _mark(variables: Mapping[str, str]) -> None:
    """Carry the worker's marks where the kernel shows what a process was started with: over the template's."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    begin, end = int(fields[_ENVIRONMENT_BEGINS]), int(fields[_ENVIRONMENT_ENDS])
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        memory.seek(begin)
        block = memory.read(end - begin) or b""
        for name in (_FAMILY_VARIABLE, _RUNNER_VARIABLE):
            value = variables.get(name, "").encode()
            found = re.search(b"(?:^|\0)%s=([^\0]*)" % name.encode(), block)
            if found is not None and value and len(value) <= len(found.group(1)):  # there is room
                memory.seek(begin + found.start(1))
                memory.write(value.ljust(len(found.group(1)), b"\0"))
            elif name == _FAMILY_VARIABLE:
                raise RuntimeError("its processes could not be found again")


def _set_variables(variables: Mapping[str, str], kept: Changes) -> None:
    temporary = _temporary_variables()
    zone = os.environ.get("TZ")
    wanted: Dict[str, str] = dict(variables)
    apply(kept, wanted)
    wanted[_FAMILY_VARIABLE] = variables[_FAMILY_VARIABLE]
    for name in [name for name in os.environ if name not in wanted]:
        del os.environ[name]
    for name, value in wanted.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
    if temporary != _temporary_variables() and "tempfile" in sys.modules:
        sys.modules["tempfile"].tempdir = None  # type: ignore[attr-defined] # found out anew
    if os.environ.get("TZ") != zone:
        import time

        time.tzset()


def _temporary_variables() -> List[Optional[str]]:
    return [os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")]


def _open_anew(descriptor: int) -> None:
    """A position in a file of this process's own: reading in one worker must not move another's."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL) & ~_FIRST_TIME_FLAGS
    position = os.lseek(descriptor, 0, os.SEEK_CUR)
    inheritable = os.get_inheritable(descriptor)
    own = os.open("/proc/self/fd/%d" % descriptor, flags)
    os.lseek(own, position, os.SEEK_SET)
    os.dup2(own, descriptor, inheritable=inheritable)
    os.close(own)


def _reseed() -> None:
    """Different random numbers in each worker. Python's own generator does it by itself; what is seeded later stays seeded."""
    numpy_random: Any = sys.modules.get("numpy.random")
    if numpy_random is not None and hasattr(numpy_random, "seed"):
        numpy_random.seed()
    torch: Any = sys.modules.get("torch")
    generator = getattr(torch, "default_generator", None)
    if generator is not None:
        generator.seed()
