"""Bytes of a worker's pipe become text by stream."""

from hypothesis import given
from hypothesis import strategies as st

from drivetrain.model.prediction import Source
from drivetrain.serving.log_stream import LogDecoder
from drivetrain_worker.protocol import MARK_STDERR, MARK_STDOUT


def decode(*parts):
    decoder = LogDecoder()
    logs = [log for part in parts for log in decoder.feed(part)] + list(decoder.finish())
    return [(log.source, log.data) for log in logs]


def test_text_without_a_mark_is_stdout():
    assert decode(b"native\n") == [(Source.STDOUT, "native\n")]


def test_marks_switch_the_stream_and_are_not_shown():
    assert decode(MARK_STDERR + b"bad\n" + MARK_STDOUT + b"good\n") == [(Source.STDERR, "bad\n"), (Source.STDOUT, "good\n")]


def test_a_character_cut_in_two_is_one_character():
    whole = "é".encode()
    assert "".join(data for _, data in decode(whole[:1], whole[1:])) == "é"


def test_a_zero_byte_that_begins_no_mark_is_kept():
    assert "".join(data for _, data in decode(b"a\x00", b"b")) == "a\x00b"


def test_bytes_that_are_no_text_are_replaced():
    assert decode(b"\xff\n") == [(Source.STDOUT, "\ufffd\n")]


@given(st.lists(st.tuples(st.sampled_from(["out", "err"]), st.text(alphabet="aé\r\n€")), max_size=6), st.integers(1, 5))
def test_any_cut_gives_the_same_text_by_stream(writes, size):
    marks = {"out": MARK_STDOUT, "err": MARK_STDERR}
    data = b"".join(marks[stream] + text.encode() for stream, text in writes)
    pieces = decode(*(data[start : start + size] for start in range(0, len(data), size)))
    for stream, source in (("out", Source.STDOUT), ("err", Source.STDERR)):
        expected = "".join(text for name, text in writes if name == stream)
        assert "".join(data for piece, data in pieces if piece is source) == expected
