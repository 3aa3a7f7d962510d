"""Pages and cursors."""

import base64
import contextlib
import json
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivetrain.gateways.http.refusal import Refused
from drivetrain.gateways.replicate.page import PAGE_SIZE, Cursor, cursor_of, select

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
URL = "https://models.example/v1/models"


def items(count):
    """Some of them of the same time."""
    return [(START + timedelta(seconds=number // 3), f"name{number:04}") for number in range(count)]


def walk(all_items, *, ascending=False):
    """Follow ``next`` to the end, then ``previous`` back to the start; the pages of both ways."""
    forth, back = [], []
    link = f"{URL}?"
    while link is not None:
        found, page = select(all_items, cursor_of(dict(_query(link))), lambda item: item, ascending=ascending)
        forth.append(list(found))
        last = page.render(URL, {})
        link = last["next"]
    link = last["previous"]
    while link is not None:
        found, page = select(all_items, cursor_of(dict(_query(link))), lambda item: item, ascending=ascending)
        back.append(list(found))
        link = page.render(URL, {})["previous"]
    return forth, back


def _query(link):
    return {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}


@pytest.mark.parametrize("count", [0, 1, PAGE_SIZE, PAGE_SIZE + 1, 3 * PAGE_SIZE, 3 * PAGE_SIZE + 7])
@pytest.mark.parametrize("ascending", [False, True])
def test_every_item_is_on_one_page_both_ways(count, ascending):
    everything = items(count)
    forth, back = walk(everything, ascending=ascending)
    ordered = sorted(everything, reverse=not ascending)
    assert [item for page in forth for item in page] == ordered
    assert all(len(page) <= PAGE_SIZE for page in forth)
    assert back == forth[:-1][::-1]


def test_links_are_absolute_and_keep_the_query():
    _, page = select(items(PAGE_SIZE + 1), None, lambda item: item)
    link = page.render(URL, {"sort_direction": "desc"})["next"]
    assert link.startswith(f"{URL}?")
    assert _query(link)["sort_direction"] == "desc"
    assert page.render(URL, {})["previous"] is None


@given(at=st.datetimes(timezones=st.just(timezone.utc)), name=st.text(max_size=50), is_back=st.booleans())
def test_a_cursor_survives_its_text(at, name, is_back):
    cursor = Cursor(place=(at, name), is_back=is_back)
    try:
        text = str(cursor)
    except UnicodeEncodeError:
        pytest.fail(f"{name!r} cannot be written")
    assert Cursor.parse(text) == cursor


@given(text=st.text(max_size=60))
def test_what_is_no_cursor_is_refused(text):
    with contextlib.suppress(Refused):  # and nothing else is raised, whatever the text
        Cursor.parse(text)


@pytest.mark.parametrize(
    "place",
    [
        ("0001-01-01T00:00:00+23:00", "x"),
        ("9999-12-31T23:59:59-23:00", "x"),
        ("2026-01-01T00:00:00+00:00", "\ud800"),
        ("2026-01-01T00:00:00", "x"),
    ],
)
def test_a_place_that_cannot_be_is_no_cursor(place):
    with pytest.raises(Refused, match="is no cursor"):
        Cursor.parse(base64.urlsafe_b64encode(json.dumps(["n", *place]).encode()).decode())


@pytest.mark.parametrize("text", ["x", "bm9uc2Vuc2U", "W10", "WyJuIiwgIjIwMjYtMDEtMDEiLCAieCJd", "e30", "é", "[" * 100_000])
def test_nonsense_is_no_cursor(text):
    with pytest.raises(Refused, match="is no cursor"):
        Cursor.parse(text)
