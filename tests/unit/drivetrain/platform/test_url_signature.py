"""URLs that expire."""

import base64
import hashlib
import hmac
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from drivetrain.platform.url_signature import UrlSignatures, sign_download, verify_download

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
LATER = NOW + timedelta(hours=1)
PATH = "/files/abc/a%20cat.png"
signatures = UrlSignatures([b"k" * 32])


def test_what_was_signed_is_good_until_it_expires():
    query = signatures.sign(PATH, LATER)
    assert signatures.verify(PATH, query, NOW)
    assert signatures.verify(PATH, query, LATER - timedelta(seconds=1))
    assert not signatures.verify(PATH, query, LATER)


def test_other_members_of_the_query_do_no_harm():
    assert signatures.verify(PATH, f"download=1&{signatures.sign(PATH, LATER)}", NOW)


def test_the_signature_is_safe_in_urls():
    queries = [signatures.sign(f"/files/{number}", LATER) for number in range(100)]
    assert all(
        set(query.split("signature=")[1]) <= set("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_")
        for query in queries
    )


def test_a_key_can_be_replaced():
    query = signatures.sign(PATH, LATER)
    assert UrlSignatures([b"n" * 32, b"k" * 32]).verify(PATH, query, NOW)
    assert not UrlSignatures([b"n" * 32]).verify(PATH, query, NOW)


@pytest.mark.parametrize(
    "change",
    [
        lambda query: "",
        lambda query: query.replace("expires=", "expires=9"),
        lambda query: query.replace("expires=", "expires=0"),
        lambda query: query.replace("expires=", "expires=+"),
        lambda query: query[:-1],
        lambda query: f"{query}=",
        lambda query: f"{query}&{query}",
        lambda query: f"{query}&expires=9999999999",
        lambda query: query.replace("signature=", "signature=%ff"),
        lambda query: query + "&a=1" * 30,
        lambda query: query.replace("expires=", "expires=" + "9" * 5000),
    ],
)
def test_a_changed_query_is_refused(change):
    query = signatures.sign(PATH, LATER)
    assert not signatures.verify(PATH, change(query), NOW)


@given(st.text(), st.text())
def test_another_path_is_refused(path, other):
    assume(path != other)
    query = signatures.sign(path, LATER)
    assert signatures.verify(path, query, NOW)
    assert not signatures.verify(other, query, NOW)


@given(st.text())
def test_no_query_is_too_strange(query):
    assert not signatures.verify(PATH, query, NOW)


def test_a_download_is_signed_as_replicate_says():
    expiry = str(int(LATER.timestamp()))
    signature = base64.b64encode(hmac.new(b"secret", f"acme f1 {expiry}".encode(), hashlib.sha256).digest()).decode()
    assert sign_download(b"secret", owner="acme", file_id="f1", expiry=expiry) == signature
    good = {"owner": "acme", "file_id": "f1", "expiry": expiry, "signature": signature, "now": NOW}
    assert verify_download([b"new", b"secret"], **good)
    assert verify_download([b"secret"], **{**good, "signature": signature.replace("+", "-").replace("/", "_").rstrip("=")})
    for change in (
        {"owner": "other"},
        {"file_id": "f2"},
        {"expiry": "9999999999"},
        {"expiry": "x"},
        {"signature": "\udcff"},
        {"now": LATER},
    ):
        assert not verify_download([b"secret"], **{**good, **change})
