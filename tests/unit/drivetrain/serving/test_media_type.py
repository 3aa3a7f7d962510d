"""File name suffixes and media types, the same on every machine."""

import pytest

from drivetrain.serving.media_type import guess_suffix, guess_type


@pytest.mark.parametrize(
    ("media_type", "suffix"),
    [
        ("image/jpeg", ".jpg"),
        ("image/webp", ".webp"),
        ("image/png; charset=binary", ".png"),
        ("audio/wav", ".wav"),
        ("audio/x-wav", ".wav"),
        ("video/mp4", ".mp4"),
        ("text/plain", ".txt"),
        ("application/octet-stream", ""),
        ("application/x-nobody-knows", ""),
        ("", ""),
    ],
)
def test_a_media_type_gives_the_suffix_that_libraries_expect(media_type, suffix):
    assert guess_suffix(media_type) == suffix


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("a.PNG", "image/png"), ("b.webp", "image/webp"), ("c.glb", "model/gltf-binary"), ("d", "application/octet-stream")],
)
def test_a_name_gives_its_media_type(name, media_type):
    assert guess_type(name) == media_type
