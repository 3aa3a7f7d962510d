import fcntl
import os
import signal
import socket
import threading

import pytest

from drivetrain_worker.channel import Channel, ServerGone
from drivetrain_worker.protocol import FrameDecoder


class Interruption(BaseException):
    pass


class Server:
    """The server's end of a connection; it reads nothing until the worker has been interrupted."""

    def __init__(self, end):
        self.end = end
        self._data = []
        self._reader = threading.Thread(target=self._read)

    def interrupt(self, error):
        """Have the kernel signal the first arrival, which it does before the write has returned, and the handler raise."""

        def ring(_number, _frame):
            signal.signal(signal.SIGIO, signal.SIG_IGN)
            self._reader.start()
            raise error

        signal.signal(signal.SIGIO, ring)
        fcntl.fcntl(self.end, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(self.end, fcntl.F_SETFL, fcntl.fcntl(self.end, fcntl.F_GETFL) | os.O_ASYNC)

    def frames(self):
        """All that came until the worker's end was closed."""
        self._reader.join()
        return FrameDecoder().feed(b"".join(self._data))

    def _read(self):
        while True:
            data = self.end.recv(65536)
            if not data:
                return
            self._data.append(data)


@pytest.fixture
def ends():
    previous = signal.getsignal(signal.SIGIO)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Server(ours), theirs
    signal.signal(signal.SIGIO, previous)


@pytest.mark.parametrize("error", [Interruption(), TimeoutError("it takes too long")], ids=["cancelation", "alarm"])
@pytest.mark.parametrize("size", [10, 5_000_000], ids=["at once", "in pieces"])
def test_a_frame_goes_out_once_and_whole_though_a_signal_handler_raises_meanwhile(ends, size, error):
    server, end = ends
    channel = Channel(end.fileno())
    server.interrupt(error)
    with pytest.raises(type(error)):
        channel.send({"type": "output", "text": "x" * size})
    channel.send({"type": "completed"})
    end.shutdown(socket.SHUT_WR)
    assert [(frame["type"], len(frame.get("text", ""))) for frame in server.frames()] == [("output", size), ("completed", 0)]


def test_a_server_that_has_closed_its_end_is_gone(ends):
    server, end = ends
    channel = Channel(end.fileno())
    server.end.close()
    with pytest.raises(ServerGone):
        channel.send({"type": "ready"})
    with pytest.raises(ServerGone):
        channel.receive()


def test_a_channel_waits_whatever_libraries_have_other_sockets_do(ends):
    _, end = ends
    socket.setdefaulttimeout(1)
    try:
        channel = Channel(end.fileno())
    finally:
        socket.setdefaulttimeout(None)
    assert os.get_blocking(channel.descriptor)
