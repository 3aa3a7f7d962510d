"""What a file is, by its first bytes.

Only what models deal in, and nothing that a browser would run: a page is text by its bytes, and is a page only where its sender or
its name says so.
"""

from __future__ import annotations

import codecs
import json
import re

from drivetrain.serving.media_type import guess_type

#: How many bytes are looked at.
HEAD_BYTES = 4096

_UNKNOWN = "application/octet-stream"

#: What clients send when they do not know.
_SAYS_NOTHING = frozenset({"", _UNKNOWN, "binary/octet-stream", "application/x-www-form-urlencoded", "*/*"})

_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]{1,127}/[!#$%&'*+.^_`|~0-9a-z-]{1,127}", re.ASCII)
_PARAMETERS = re.compile(r"[\x20-\x7e]{0,200}", re.ASCII)

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"ID3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"glTF", "model/gltf-binary"),
)

_RIFF = {b"WAVE": "audio/wav", b"WEBP": "image/webp", b"AVI ": "video/x-msvideo"}

_BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heic",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
    b"qt  ": "video/quicktime",
}


def content_type(given: str | None, name: str, head: bytes, *, is_whole: bool) -> str:
    """The type of a file.

    Args:
        given: What the sender says; taken where it says something.
        name: The file's name; its suffix counts where the bytes say nothing.
        head: The first ``HEAD_BYTES`` bytes, or all there are.
        is_whole: Whether ``head`` is all there is.
    """
    said, semicolon, parameters = (given or "").strip().partition(";")
    said = said.strip().lower()
    if said not in _SAYS_NOTHING and _TYPE.fullmatch(said) and _PARAMETERS.fullmatch(parameters):
        return said + semicolon + parameters
    by_bytes = _by_magic(head)
    if by_bytes is not None:
        return by_bytes
    by_name = guess_type(name)
    return by_name if by_name != _UNKNOWN else _by_text(head, is_whole=is_whole)


def _by_magic(head: bytes) -> str | None:
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    # MPEG audio without tags: eleven set bits, then a version and a layer that exist, a bit rate and a sampling rate that exist.
    if (
        len(head) >= 4
        and head[0] == 0xFF
        and head[1] & 0xE0 == 0xE0
        and head[1] & 0x18 != 0x08
        and head[1] & 0x06 != 0
        and head[2] & 0xF0 not in (0x00, 0xF0)
        and head[2] & 0x0C != 0x0C
    ):
        return "audio/mpeg"
    return None


def _by_text(head: bytes, *, is_whole: bool) -> str:
    if not head or any(byte < 0x20 and byte not in b"\t\n\r\f\x1b" for byte in head):
        return _UNKNOWN
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head, final=is_whole)
    except UnicodeDecodeError:
        return _UNKNOWN
    if is_whole and text.lstrip()[:1] in ("{", "["):
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return "text/plain"
        return "application/json"
    return "text/plain"
