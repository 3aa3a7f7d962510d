"""What is started by a test is told of a closed terminal, or not."""

import contextlib
import signal


@contextlib.contextmanager
def hangups(action):
    """What is started in the block begins with this action for SIGHUP, whatever these tests were started with."""
    before = signal.signal(signal.SIGHUP, action)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
