"""Patterns of a .dockerignore."""

import pytest

from drivetrain.dialects.cog.doctor.ignore_file import IgnoreFile


@pytest.mark.parametrize(
    ("lines", "name", "ignored"),
    [
        (["weights"], "weights/a.bin", True),
        (["weights/"], "weights/deep/a.bin", True),
        (["/weights"], "weights/a.bin", True),
        (["weights"], "old/weights/a.bin", False),
        (["**/weights"], "old/weights/a.bin", True),
        (["**/weights"], "weights/a.bin", True),
        (["*.bin"], "a.bin", True),
        (["*.bin"], "sub/a.bin", False),
        (["**/*.bin"], "sub/a.bin", True),
        (["**"], "sub/a.bin", True),
        (["a?.bin"], "ab.bin", True),
        (["[ab].bin"], "a.bin", True),
        (["[z-a].bin"], "a.bin", False),
        (["weight"], "weights/a.bin", False),
        (["*.bin", "!keep.bin"], "keep.bin", False),
        (["!keep.bin", "*.bin"], "keep.bin", True),
        (["# *.bin", "", "  "], "a.bin", False),
        (["./weights/../models"], "models/a.bin", True),
    ],
)
def test_the_last_pattern_that_matches_decides(lines, name, ignored):
    assert IgnoreFile(lines).ignores(name) is ignored
