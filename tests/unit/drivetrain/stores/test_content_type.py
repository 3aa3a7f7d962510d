"""What a file is, by its first bytes."""

import io
import wave
import zipfile
import zlib

import pytest

from drivetrain.stores.content_type import content_type


def a_wave():
    with io.BytesIO() as file:
        with wave.open(file, "wb") as sound:
            sound.setparams((1, 2, 8000, 1, "NONE", ""))
            sound.writeframes(b"\0\0")
        return file.getvalue()


def a_zip():
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("x", "y")
        return file.getvalue()


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0", "image/png"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"\0\0\0\x1cftypavif", "image/avif"),
        (b"\0\0\0\x18ftypheic", "image/heic"),
        (b"\0\0\0\x18ftypmp42", "video/mp4"),
        (b"\0\0\0\x18ftypM4A ", "audio/mp4"),
        (b"\0\0\0\x14ftypqt  ", "video/quicktime"),
        (b"\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1f\x42\x86webm", "video/webm"),
        (b"\x1a\x45\xdf\xa3\x01matroska", "video/x-matroska"),
        (a_wave(), "audio/wav"),
        (b"fLaC\0", "audio/flac"),
        (b"OggS\0", "audio/ogg"),
        (b"ID3\x04", "audio/mpeg"),
        (b"\xff\xfb\x90\x64", "audio/mpeg"),
        (b"%PDF-1.7\n", "application/pdf"),
        (a_zip(), "application/zip"),
        (zlib.compress(b"x"), "application/octet-stream"),
        (b'{"a": [1]}', "application/json"),
        (b"[1, 2]\n", "application/json"),
        (b"{not json}", "text/plain"),
        ("häh\r\n\t".encode(), "text/plain"),
        (b"<html><script>alert(1)</script>", "text/plain"),
        (b"text with \0", "application/octet-stream"),
        (b"\xff\xfe\xfd", "application/octet-stream"),
        (b"", "application/octet-stream"),
    ],
)
def test_content_tells_its_type(head, kind):
    assert content_type(None, "x", head, is_whole=True) == kind


def test_text_that_is_cut_within_a_character_is_text():
    assert content_type(None, "x", "ü".encode()[:1], is_whole=False) == "text/plain"
    assert content_type(None, "x", "ü".encode()[:1], is_whole=True) == "application/octet-stream"


def test_json_that_is_cut_is_text():
    assert content_type(None, "x", b'{"a": ', is_whole=False) == "text/plain"
    assert content_type(None, "x.json", b'{"a": ', is_whole=False) == "application/json"


def test_deep_json_is_text():
    assert content_type(None, "x", b"[" * 4096, is_whole=True) == "text/plain"


def test_content_counts_more_than_the_name_and_what_is_given_more_than_both():
    assert content_type(None, "x.txt", b"GIF89a", is_whole=True) == "image/gif"
    assert content_type("image/png", "x.txt", b"GIF89a", is_whole=True) == "image/png"
    assert content_type(None, "x.csv", b"a,b\n", is_whole=True) == "text/csv"


@pytest.mark.parametrize(
    "given", ["text", "text/", "/x", "te xt/plain", "text/plain\n", "text/plain; a=\r\nb", "a" * 200 + "/b", "ü/x"]
)
def test_a_type_that_is_none_does_not_count(given):
    found = content_type(given, "x", b"GIF89a", is_whole=True)
    assert found in ("image/gif", "text/plain")
    assert "\n" not in found
