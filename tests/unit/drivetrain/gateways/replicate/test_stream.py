"""Server-sent events, as the three official clients decode them."""

import asyncio
from datetime import datetime, timezone

import pytest

from drivetrain.gateways.replicate.stream import BEGUN_ANEW, OutputEvents, read_place
from drivetrain.model.prediction import Completed, Failure, Log, Metric, Output, OutputValue, Source, Started, Status
from drivetrain.platform.hub import Numbered

AT = datetime(2026, 1, 1, tzinfo=timezone.utc)


def output(value):
    return Output(output=OutputValue(value=value))


def ended(status=Status.SUCCEEDED, message=None):
    return Completed(status=status, at=AT, failure=Failure(message=message) if message else None)


def encode(*batches, after=None, **options):
    """The bytes for batches of events, each batch a list of (attempt, number, event)."""

    async def follow():
        for batch in batches:
            yield [Numbered(*each) for each in batch]

    async def collect():
        events = OutputEvents(after, lambda value: value, **options)
        return b"".join([chunk async for chunk in events.encode(follow())])

    return asyncio.run(collect()).decode()


def numbered(*events, attempt=1):
    return [(attempt, number, event) for number, event in enumerate(events)]


def decode(text):
    """As the event stream's standard says: a list of (event, data, id)."""
    events = []
    for block in text.split("\n\n"):
        fields = [line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":")]
        if fields:
            data = "\n".join(value for name, value in fields if name == "data")
            events.append((dict(fields)["event"], data, dict(fields)["id"]))
    return events


def test_a_stream_tells_output_and_its_end():
    text = encode(numbered(Started(at=AT), output("Hel"), output("lo"), ended()))
    assert text == (
        ": stream\n\nevent: output\nid: 1:1\ndata: Hel\n\nevent: output\nid: 1:2\ndata: lo\n\nevent: done\nid: 1:3\ndata: {}\n\n"
    )


def test_logs_and_metrics_are_not_told_unless_they_are_asked_for():
    events = numbered(Started(at=AT), Log(source=Source.STDOUT, data="10%|\r"), Metric(name="n", value=1), ended())
    assert [name for name, _, _ in decode(encode(events))] == ["done"]
    assert decode(encode(events, with_logs=True))[0] == ("logs", "10%|\n", "1:1")


def test_a_failure_is_an_error_and_the_end():
    text = encode(numbered(Started(at=AT), ended(Status.FAILED, "it broke")))
    assert decode(text) == [("error", "it broke", "1:1"), ("done", '{"reason":"error"}', "1:1")]


def test_a_cancelation_says_so():
    assert decode(encode(numbered(ended(Status.CANCELED)))) == [("done", '{"reason":"canceled"}', "1:0")]


def test_signs_of_life_are_comments():
    assert ": keep-alive\n\n" in encode([], numbered(ended()))


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_no_line_end_of_any_client_loses_text(end):
    """One client cuts lines of data at all of these, and would drop what comes behind."""
    [(_, data, _), _] = decode(encode(numbered(output(f"one{end}two{end}"), ended())))
    assert data == "one\ntwo\n"


def test_text_keeps_its_spaces_and_may_be_empty():
    events = decode(encode(numbered(output("  two"), output(""), output(" "), ended())))
    assert [data for _, data, _ in events[:3]] == ["  two", "", " "]


def test_other_values_are_json():
    events = decode(encode(numbered(output({"a": [1, None]}), output(3), ended())))
    assert [data for _, data, _ in events[:2]] == ['{"a":[1,null]}', "3"]


def test_a_lone_surrogate_does_not_break_the_stream():
    assert decode(encode(numbered(output("\ud800"), ended())))[0][1] == "?"


def test_an_attempt_begun_anew_before_any_output_goes_unnoticed():
    text = encode(numbered(Started(at=AT)), numbered(Started(at=AT), output("a"), ended(), attempt=2))
    assert decode(text) == [("output", "a", "2:1"), ("done", "{}", "2:2")]


def test_output_of_two_attempts_is_never_mixed():
    text = encode(numbered(output("a")), numbered(output("b"), ended(), attempt=2))
    assert decode(text) == [("output", "a", "1:0"), ("error", BEGUN_ANEW, "2:0"), ("done", '{"reason":"error"}', "2:0")]


def test_a_reader_that_comes_back_to_another_attempt_is_told():
    text = encode(numbered(output("b"), ended(), attempt=2), after=(1, 4))
    assert decode(text)[0][:2] == ("error", BEGUN_ANEW)


def test_a_reader_that_comes_back_goes_on():
    text = encode([(1, 5, output("c")), (1, 6, ended())], after=(1, 4))
    assert decode(text) == [("output", "c", "1:5"), ("done", "{}", "1:6")]


def test_a_reader_that_had_the_end_is_told_it_again():
    assert decode(encode(after=(1, 6))) == [("done", "{}", "1:6")]


@pytest.mark.parametrize(
    ("text", "place"), [("1:20", (1, 20)), (" 2:0 ", (2, 0)), ("", None), (None, None), ("x", None), ("1:2:3", None)]
)
def test_places_of_ours_are_known(text, place):
    assert read_place(text) == place
