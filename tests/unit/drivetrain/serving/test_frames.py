"""Both halves of the frame protocol agree, whatever the bytes are cut into."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivetrain.model.errors import InternalError
from drivetrain.serving import frames
from drivetrain_worker import protocol

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
texts = st.builds(lambda text, times: text * times, st.text(min_size=1, max_size=20), st.sampled_from([1, 600, 11_000]))
server_frames = st.sampled_from([frames.CheckHealth(), frames.Stop()]) | st.builds(frames.Cancel, id=st.text())


def test_the_two_halves_state_the_same_version_and_limit():
    assert (frames.VERSION, frames.MAXIMUM_FRAME_BYTES) == (protocol.VERSION, protocol.MAXIMUM_FRAME_BYTES)


@given(json_values | texts, st.integers(1, 7) | st.integers(1000, 200_000))
def test_a_workers_frame_arrives_as_it_was_sent_in_pieces_of_any_size(value, size):
    sent = protocol.encode({"type": "output", "id": "p", "output": {"value": value}})
    decoder = frames.FrameDecoder()
    received = [frame for start in range(0, len(sent), size) for frame in decoder.feed(sent[start : start + size])]
    assert received == [frames.OutputItem(id="p", output=frames.WireOutput(value=value))]


@given(st.lists(server_frames, max_size=5), st.integers(1, 7))
def test_a_servers_frames_arrive_in_order_in_pieces_of_any_size(sent, size):
    data = b"".join(frames.encode(frame) for frame in sent)
    decoder = protocol.FrameDecoder()
    received = [frame for start in range(0, len(data), size) for frame in decoder.feed(data[start : start + size])]
    assert [frame["type"] for frame in received] == [frame.__struct_config__.tag for frame in sent]


@given(st.dictionaries(st.text(), texts | json_values, max_size=4), st.integers(1, 100_000))
def test_inputs_arrive_as_they_were_sent_however_long(inputs, size):
    data = frames.encode(frames.Predict(id="p", input=inputs, directory="/d")) + frames.encode(frames.Stop())
    decoder = protocol.FrameDecoder()
    received = [frame for start in range(0, len(data), size) for frame in decoder.feed(data[start : start + size])]
    assert received == [{"type": "predict", "id": "p", "input": inputs, "directory": "/d"}, {"type": "stop"}]


def test_a_large_frame_is_received_into_memory_that_is_there():
    sent = b"".join(
        protocol.encode({"type": "output", "id": "p", "output": {"value": value}})
        for value in (["é" * 100_000], "\n" * 200_000, "short")
    )
    decoder = frames.FrameDecoder()
    received = []
    while sent:
        room = decoder.room()
        if room is None:
            piece, sent = sent[:10], sent[10:]
            received += decoder.feed(piece)
        else:
            count = min(len(room), 70_000)
            room[:count], sent = sent[:count], sent[count:]
            received += decoder.take(count)
    assert [frame.output.value for frame in received] == [["é" * 100_000], "\n" * 200_000, "short"]
    assert decoder.room() is None


def test_what_was_received_and_not_used_can_be_handed_on_to_another_decoder():
    decoder = protocol.FrameDecoder()
    (frame,) = decoder.feed(frames.encode(frames.Predict(id="p", input={"text": "x" * 100_000}, directory="/d")))
    assert decoder.feed(protocol.encode(frame)) == [frame]


def test_memory_for_a_huge_frame_is_given_back_with_the_next():
    decoder = protocol.FrameDecoder()
    decoder.feed(protocol.encode({"text": "x" * 3 * protocol.KEPT_BYTES}))
    decoder.feed(protocol.encode({}))
    assert len(decoder.room()) < protocol.KEPT_BYTES


def test_a_lone_surrogate_does_not_make_a_frame_unreadable():
    sent = protocol.encode({"type": "log", "id": "p", "source": "stdout", "data": "a\ud800b"})
    assert frames.FrameDecoder().feed(sent)[0].data == "a?b"


TOO_DEEP = b'{"type": "output", "id": "p", "output": {"value": %s}}' % (b"[" * 100_000 + b"]" * 100_000)


@pytest.mark.parametrize(
    "payload",
    [b"{", b"[]", b'{"type": "nonsense"}', b'{"type": "output"}', b"\xff", TOO_DEEP],
    ids=["cut", "list", "unknown", "incomplete", "bytes", "too deep"],
)
def test_what_is_not_a_frame_is_refused(payload):
    with pytest.raises(InternalError, match="not the protocol's"):
        frames.FrameDecoder().feed(struct.pack(">I", len(payload)) + payload)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"type": "ready"}\n' + b"x" * 20_000,
        b'{"type": "completed", "id": "p", "status": "failed"}\n' + b"x" * 20_000,
        b'{"type": "output", "id": "p", "output": {"value": null}}\n' + b"\xff" * 20_000,
    ],
    ids=["no prediction", "no output", "no text"],
)
def test_a_text_where_none_belongs_is_refused(payload):
    with pytest.raises(InternalError, match="not the protocol's"):
        frames.FrameDecoder().feed(struct.pack(">I", len(payload)) + payload)


def test_an_announcement_beyond_the_limit_is_refused_before_its_bytes_come():
    with pytest.raises(InternalError, match="announced"):
        frames.FrameDecoder().feed(struct.pack(">I", frames.MAXIMUM_FRAME_BYTES + 1))


def test_numbers_that_json_does_not_know_are_refused_by_the_worker():
    with pytest.raises(ValueError, match="JSON"):
        protocol.encode({"value": float("nan")})


@given(st.binary(max_size=200))
def test_random_bytes_are_waited_for_or_refused(data):
    try:
        received = frames.FrameDecoder().feed(data)
    except InternalError:
        return
    assert isinstance(received, list)
