"""Uploads as the clients write them."""

import asyncio

import httpx
import pytest
from starlette.requests import Request

from drivetrain.gateways.http.refusal import Refused
from drivetrain.gateways.replicate.bodies import InvalidBody
from drivetrain.gateways.replicate.upload_form import UploadForm


def read(*, chunk_bytes=7, limit=10_000, body=None, headers=None, **form):
    """What becomes of a form that comes in small pieces: its name, type, content, metadata."""
    if body is None:
        encoded = httpx.Request("POST", "http://host/", **form)
        body, headers = encoded.read(), encoded.headers
    pieces = [body[start : start + chunk_bytes] for start in range(0, len(body), chunk_bytes)] or [b""]

    async def receive():
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def collect():
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items() if name.lower() == "content-type"]
        form = await UploadForm.open(Request({"type": "http", "method": "POST", "headers": raw}, receive), limit=limit)
        content = b"".join([piece async for piece in form.content()])
        return form.name, form.content_type, content, form.metadata

    return asyncio.run(collect())


def test_python_1_sends_metadata_as_text_before_the_content():
    form = {"data": {"metadata": '{"a": 1}'}, "files": {"content": ("x.txt", b"hello", "text/plain")}}
    assert read(**form) == ("x.txt", "text/plain", b"hello", {"a": 1})


def test_javascript_sends_metadata_as_a_file_after_the_content():
    files = [("content", ("blob_1", b"hello\r\n--", "image/png")), ("metadata", ("blob", b'{"a": 1}', "application/json"))]
    assert read(files=files) == ("blob_1", "image/png", b"hello\r\n--", {"a": 1})


def test_python_2_sends_metadata_as_fields():
    form = {"data": {"metadata[a]": "1", "filename": "cat.png", "type": "image/png"}, "files": {"content": ("upload", b"hello")}}
    assert read(**form) == ("cat.png", "image/png", b"hello", {"a": "1"})


def test_a_large_content_comes_in_pieces():
    content = bytes(range(256)) * 4000
    assert read(files={"content": ("x", content)}, chunk_bytes=65536, limit=2_000_000)[2] == content


def test_no_metadata_is_an_empty_object():
    assert read(files={"content": ("x", b"")}) == ("x", "application/octet-stream", b"", {})


@pytest.mark.parametrize("metadata", ["{", "[]", "3", "[" * 100_000])
def test_metadata_must_be_an_object(metadata):
    with pytest.raises(InvalidBody, match="must be a JSON object"):
        read(data={"metadata": metadata}, files={"content": ("x", b"1")}, limit=1_000_000)


def test_the_content_must_be_there_once():
    with pytest.raises(InvalidBody, match="has no such part"):
        read(files={"other": ("x", b"1")})
    with pytest.raises(InvalidBody, match="twice"):
        read(files=[("content", ("x", b"1")), ("content", ("y", b"2"))])


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "application/json", 415),
        (b"", "multipart/form-data", 400),
        (b"nonsense", "multipart/form-data; boundary=x", 400),
        (b"--x\r\nContent-Disposition: form-data; name=content\r\n\r\ncut", "multipart/form-data; boundary=x", 400),
    ],
)
def test_what_is_no_form_is_refused(body, content_type, status):
    with pytest.raises(Refused) as caught:
        read(body=body, headers={"Content-Type": content_type})
    assert caught.value.status == status


@pytest.mark.parametrize("name", ["filename", "metadata"])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_text_in_another_encoding_is_refused(name, is_first):
    text, content = (name, (None, "Straße".encode("latin-1"))), ("content", ("x", b"1"))
    with pytest.raises(Refused, match=f"the part '{name}' is no text in UTF-8") as caught:
        read(files=[text, content] if is_first else [content, text])
    assert caught.value.status == 400


def test_a_form_beyond_the_limit_is_refused():
    with pytest.raises(Refused) as caught:
        read(files={"content": ("x", b"1" * 3_000_000)}, chunk_bytes=65536, limit=10)
    assert caught.value.status == 413


def test_a_text_may_not_be_as_large_as_a_file():
    with pytest.raises(Refused) as caught:
        read(data={"metadata": "1" * 1_500_000}, files={"content": ("x", b"")}, chunk_bytes=65536)
    assert caught.value.status == 413
