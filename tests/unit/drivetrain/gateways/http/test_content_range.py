"""The Range header, as RFC 9110 has it."""

import pytest

from drivetrain.gateways.http.content_range import read_range
from drivetrain.gateways.http.refusal import Refused


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-5", (2, 6)),
        ("bytes=7-", (7, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("bytes=5-99", (5, 10)),
    ],
)
def test_one_part_is_given(header, part):
    assert read_range(header, 10) == part


@pytest.mark.parametrize("header", [None, "", "bytes=", "bytes=-", "bytes=5-2", "bytes=0-1,4-5", "lines=0-1", "bytes=a-b"])
def test_what_is_no_single_part_is_answered_with_the_whole(header):
    assert read_range(header, 10) is None


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=99-100", 10), ("bytes=-0", 10), ("bytes=0-", 0)])
def test_a_part_that_is_not_there_is_refused(header, size):
    with pytest.raises(Refused) as refused:
        read_range(header, size)
    assert refused.value.status == 416
    assert refused.value.headers["Content-Range"] == f"bytes */{size}"
