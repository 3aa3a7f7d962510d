"""What a server makes of what a template answers."""

import errno
import json
import os
import socket
import struct
import subprocess
import sys
import threading

import pytest
from scripted_worker import command_for

from drivetrain.serving.template_fork import Door, TemplateRefused

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="templates are for Linux")


class Template:
    """Answers one request for a worker as it is told to, and forks none.

    Attributes:
        connection: The worker's end of the connection.
    """

    def __init__(self):
        ours, self._theirs = socket.socketpair()
        self.door = Door(ours)
        self.connection = None
        self._thread = None

    def answer(self, *frames):
        self._thread = threading.Thread(target=self._answer, args=(frames,))
        self._thread.start()

    def close(self):
        self.door.close()
        self._theirs.close()
        self._thread.join()
        self.connection.close()

    def _answer(self, frames):
        _, (answers, connection, log), _, _ = socket.recv_fds(self._theirs, 1024 * 1024, 3)
        self.connection = socket.socket(fileno=connection)
        os.close(log)
        for payload in (json.dumps(frame).encode() for frame in frames):
            os.write(answers, struct.pack(">I", len(payload)) + payload)
        os.close(answers)


@pytest.fixture
def template():
    made = Template()
    yield made
    made.close()


@pytest.fixture
def command(tmp_path):
    return command_for(tmp_path)


@pytest.fixture
def ended_process():
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM, errno.EMFILE, None])
def test_a_worker_whose_end_nobody_would_learn_of_is_refused_and_ends_with_its_connection(template, command, monkeypatch, number):
    def fail(_process):
        raise OSError(number, os.strerror(number))

    if number is None:
        monkeypatch.delattr(os, "pidfd_open")
    else:
        monkeypatch.setattr(os, "pidfd_open", fail)
    template.answer({"type": "forked", "pid": os.getpid()})
    with pytest.raises(TemplateRefused, match="this system gives no handle on a process"):
        template.door.fork(command)
    assert template.connection.recv(1) == b""


def test_the_end_of_a_worker_that_has_ended_at_once_is_told(template, command, ended_process):
    template.answer({"type": "forked", "pid": ended_process}, {"type": "ended", "status": 3 << 8})
    worker = template.door.fork(command)
    assert worker.process.wait() == 3
    worker.connection.close()
    os.close(worker.log)
