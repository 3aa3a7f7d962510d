import contextlib
import os
import signal
import socket
from dataclasses import dataclass

import pytest

from drivetrain_worker.channel import Channel
from drivetrain_worker.doorbell import Doorbell, EndWatch
from drivetrain_worker.protocol import encode


@dataclass
class Server:
    """The server's end of a connection, and the worker's channel at the other."""

    socket: socket.socket
    channel: Channel

    def send(self, frame):
        self.socket.sendall(encode(frame))


class Canceled(BaseException):
    pass


@pytest.fixture
def server():
    previous = signal.getsignal(signal.SIGIO)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Server(ours, Channel(theirs.fileno()))
    signal.signal(signal.SIGIO, previous)


def cancel(frame):
    if frame["type"] == "cancel":
        raise Canceled
    return False


def test_a_frame_that_is_not_for_now_waits_until_the_bell_is_off(server):
    seen = []

    def leave(frame):
        seen.append(frame["type"])
        return False

    with Doorbell(server.channel, answer=leave, abandoned=os.abort):
        server.send({"type": "stop"})
        server.send({"type": "later"})
        while len(seen) < 2:
            pass
    assert [server.channel.receive()["type"] for _ in range(2)] == ["stop", "later"] == seen


def test_a_bell_that_rings_while_it_is_switched_on_is_off_afterwards(server):
    bell = Doorbell(server.channel, answer=cancel, abandoned=os.abort)
    server.send({"type": "cancel"})
    with pytest.raises(Canceled), bell:
        raise AssertionError("never reached")
    server.send({"type": "cancel"})
    assert server.channel.receive() == {"type": "cancel"}


def test_a_frame_that_comes_in_pieces_is_read_whole_although_each_piece_rings(server):
    text = "x" * 5_000_000
    frames = []

    def keep(frame):
        frames.append(frame)
        return True

    child = os.fork()
    if child == 0:
        for number in range(20):
            server.send({"number": number, "text": text})
        os._exit(0)
    try:
        with Doorbell(server.channel, answer=keep, abandoned=os.abort):
            while len(frames) < 20:
                pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert [frame["number"] for frame in frames] == list(range(20))


def test_rings_that_interrupt_each_other_do_no_harm(server):
    EndWatch(server.channel, os.abort).begin()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(ProcessLookupError):
            while True:
                os.kill(os.getppid(), signal.SIGIO)
    try:
        for _ in range(20_000):
            signal.strsignal(signal.SIGIO)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
