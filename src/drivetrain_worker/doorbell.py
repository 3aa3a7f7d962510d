"""Notice frames that arrive while the main thread is inside the author's code, without a thread of our own.

The kernel sends SIGIO when the socket becomes readable (``O_ASYNC``). Python runs the handler in the main thread between two
bytecodes, and the signal interrupts sleeps and waits in C, so a cancelation lands at once: the handler raises it right where the
author's code is. It also tells us when the server is gone, so that no orphan keeps a GPU. A reader thread could do neither, and
it would make the process unsafe to fork.
"""

from __future__ import annotations

import fcntl
import os
import signal
from types import FrameType
from typing import Any, Callable, List, Optional

from drivetrain_worker.channel import Channel, ServerGone
from drivetrain_worker.forked import end_copy
from drivetrain_worker.protocol import Frame


class Doorbell:
    """Rings while entered (``with doorbell:``): frames are handed to ``answer``, which may raise into the interrupted code.

    Args:
        channel: Whose frames to notice.
        answer: Called in the main thread with each frame; whether it has dealt with it. Other frames wait until the bell is off.
        abandoned: Called when the server is gone; does not return.
    """

    def __init__(self, channel: Channel, *, answer: Callable[[Frame], bool], abandoned: Callable[[], None]) -> None:
        self._channel = channel
        self._answer = answer
        self._abandoned = abandoned
        self._listening = False
        self._rung = False
        self._is_taking_in = False
        self._left: List[Frame] = []
        fcntl.fcntl(channel.descriptor, fcntl.F_SETOWN, os.getpid())
        self._quiet = fcntl.fcntl(channel.descriptor, fcntl.F_GETFL) & ~os.O_ASYNC
        self._ringing = self._quiet | os.O_ASYNC
        signal.signal(signal.SIGIO, self._ring)

    def __enter__(self) -> None:
        self._listening = True
        fcntl.fcntl(self._channel.descriptor, fcntl.F_SETFL, self._ringing)
        try:
            self._take_in()  # what came before the bell was on did not ring
        except BaseException:
            self._hush()
            raise

    def __exit__(self, _type: object, error: Optional[BaseException], _traceback: object) -> None:
        end_copy(error)
        self._hush()

    def _hush(self) -> None:
        # From here on a late ring changes nothing; what is still in the socket is for whoever receives next.
        self._listening = False
        fcntl.fcntl(self._channel.descriptor, fcntl.F_SETFL, self._quiet)
        while self._left:
            self._channel.put_back(self._left.pop())

    def _ring(self, _signal: int, _frame: Optional[FrameType]) -> None:
        if self._listening:
            self._take_in()

    def _take_in(self) -> None:
        # A ring may interrupt this function itself, halfway through a frame. Then only the outer call reads on.
        self._rung = True
        while self._rung and not self._is_taking_in:
            self._rung = False
            self._is_taking_in = True
            try:
                self._answer_all()
            except ServerGone:
                self._abandoned()
            finally:
                self._is_taking_in = False

    def _answer_all(self) -> None:
        frame = self._channel.poll()
        while frame is not None:
            if not self._answer(frame):
                self._left.append(frame)
            frame = self._channel.poll()


class EndWatch:
    """Calls ``abandoned`` when the server is gone, even while the main thread is inside the author's code.

    For an event loop, which receives frames by itself, but not while a coroutine blocks it. While nothing runs the loop is enough,
    and each frame is spared a signal.

    Args:
        channel: The way to the server.
        abandoned: Does not return.
    """

    def __init__(self, channel: Channel, abandoned: Callable[[], None]) -> None:
        import select

        self._descriptor = channel.descriptor
        self._abandoned = abandoned
        self._new_poller = select.poll
        self._poller = self._registered()
        self._quiet = fcntl.fcntl(channel.descriptor, fcntl.F_GETFL) & ~os.O_ASYNC
        self._ringing = self._quiet | os.O_ASYNC
        signal.signal(signal.SIGIO, self._ring)

    def begin(self) -> None:
        """The author's code is about to run."""
        fcntl.fcntl(self._descriptor, fcntl.F_SETFL, self._ringing)
        if self._poller.poll(0):  # it may have gone before the bell was on
            self._abandoned()

    def end(self) -> None:
        """The author's code no longer runs."""
        fcntl.fcntl(self._descriptor, fcntl.F_SETFL, self._quiet)

    def _ring(self, _signal: int, _frame: Optional[FrameType]) -> None:
        # A ring may interrupt whoever asks, another ring too, and a poller cannot be asked twice at once.
        if self._registered().poll(0):
            self._abandoned()

    def _registered(self) -> Any:
        poller = self._new_poller()
        poller.register(self._descriptor, 0)  # a hang-up is always reported
        return poller
