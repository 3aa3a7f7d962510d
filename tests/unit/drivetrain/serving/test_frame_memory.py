"""Both sides of the memory that large frames come through."""

import errno
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivetrain.serving import frames
from drivetrain.serving.frame_memory import FrameMemory
from drivetrain_worker import channel

SIZE = 1000

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has no anonymous files")


@pytest.fixture
def memory():
    made = FrameMemory()
    yield made
    made.close()


@given(st.lists(st.integers(1, SIZE) | st.none(), max_size=60))
def test_what_was_put_is_taken_whole_and_in_order_and_nothing_is_overwritten_before(steps):
    """A number puts a frame of so many bytes; ``None`` takes the oldest."""
    memory, other = FrameMemory(SIZE), channel.FrameMemory()
    other.descriptor = memory.descriptor
    waiting = []
    for number, step in enumerate(steps):
        if step is not None:
            data = bytes([65 + number % 26]) * step
            place = memory.put([data[:1], data[1:]])
            if place is not None:
                waiting.append((place, data))
            assert place is not None or waiting or step > SIZE - 64, "there was room for it"
        elif waiting:
            place, data = waiting.pop(0)
            assert other.take(place, len(data))[: len(data)] == data
    memory.close()


def test_a_place_that_has_been_taken_is_used_again(memory):
    other = channel.FrameMemory()
    other.descriptor = memory.descriptor
    for _ in range(1000):
        place = memory.put([b"x" * 1_000_000])
        assert other.take(place, 1_000_000).startswith(b"x")
    assert os.fstat(memory.descriptor).st_size < 2_000_000


def test_a_worker_that_counts_wrong_harms_nobody_else(memory):
    assert memory.put([b"x" * 10]) is not None
    os.pwrite(memory.descriptor, b"\xff" * 4, 0)
    assert all(memory.put([b"x" * 1_000_000]) is not None for _ in range(100))


def test_a_disk_that_is_full_leaves_the_socket(memory, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "pwritev", fail)
    assert memory.put([b"x"]) is None


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, channel.Channel(theirs.fileno())


def test_a_large_frame_comes_between_small_ones(memory, ends):
    ours, theirs = ends
    sent = [
        frames.Predict(id=str(number), input={"text": "é" * 70_000, "items": [0] * number}, directory="/") for number in (0, 50_000)
    ]
    data = b"".join(frames.encode(frame, memory.put) for frame in [frames.CheckHealth(), *sent, frames.Stop()])
    assert len(data) < 200
    socket.send_fds(ours, [data], [memory.descriptor])
    received = [theirs.receive() for _ in range(4)]
    assert [frame["type"] for frame in received] == ["check_health", "predict", "predict", "stop"]
    assert [frame["input"] for frame in received[1:3]] == [frame.input for frame in sent]


def test_without_memory_or_room_it_goes_through_the_socket(ends):
    ours, theirs = ends
    ours.sendall(frames.encode(frames.Predict(id="p", input={"text": "x" * 100_000}, directory="/"), lambda _: None))
    assert theirs.receive()["input"] == {"text": "x" * 100_000}
