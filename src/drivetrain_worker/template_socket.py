"""Frames that carry file descriptors: what a template and those who want workers from it say to each other.

    owner → template       prepare; then fork and introduce, as from everybody
    template → owner       prepared, refused
    requester → template   fork (with descriptors: answers, connection, log), introduce (with a requester's socket)
    template → requester   on the descriptor for answers: forked or refused; at the end of the worker: ended

The encoding is that of ``protocol``. Descriptors travel beside the bytes (``SCM_RIGHTS``), in the order the frames name them. The
server's half is ``drivetrain.serving.template_fork``: change one, change the other.
"""

from __future__ import annotations

import array
import os
import socket
from collections import deque
from typing import Deque, List

from drivetrain_worker.protocol import Frame, FrameDecoder, encode

_READ_BYTES = 256 * 1024

#: More than any one message carries; what does not fit, the kernel would close.
_DESCRIPTORS = 64


class Gone(Exception):  # noqa: N818 (a fact about the other side)
    """The other side has closed its end."""


class TemplateSocket:
    """The template's end of the connection to somebody who may ask for workers.

    Attributes:
        descriptors: Those that came and have not been taken yet, oldest first. They belong to whoever takes them.

    Args:
        descriptor: A connected stream socket; owned from now on.
    """

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._decoder = FrameDecoder()
        self.descriptors: Deque[int] = deque()

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> List[Frame]:
        """Wait for bytes, and return the frames that are complete now.

        Raises:
            Gone: There will be no more.
        """
        try:
            data, ancillary, _flags, _address = self._socket.recvmsg(_READ_BYTES, socket.CMSG_SPACE(_DESCRIPTORS * 4))
        except ConnectionError:
            raise Gone from None
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received = array.array("i")
                received.frombytes(payload[: len(payload) - len(payload) % received.itemsize])
                for descriptor in received:
                    os.set_inheritable(descriptor, False)
                    self.descriptors.append(descriptor)
        if not data:
            raise Gone
        return self._decoder.feed(data)

    def send(self, frame: Frame) -> None:
        """Send a frame; one that nobody is left to read is dropped."""
        try:
            self._socket.sendall(encode(frame))
        except OSError:
            pass

    def close(self) -> None:
        """Close it, and what came through it and was not taken."""
        self._socket.close()
        while self.descriptors:
            os.close(self.descriptors.popleft())


def answer(descriptor: int, frame: Frame) -> None:
    """Send a frame on a bare descriptor for answers; one that nobody is left to read is dropped."""
    try:
        os.write(descriptor, encode(frame))
    except OSError:
        pass
