"""Reading a text file that a person wrote, with a clear word when that is not what it is."""

from __future__ import annotations

from pathlib import Path

from drivetrain.dialects.cog.findings import Findings


def read_text(path: Path, findings: Findings, *, largest: int) -> str | None:
    """A file's text, without byte order mark.

    Args:
        path: The file.
        findings: Those about this file; takes the reason when there is no text.
        largest: Size in bytes above which it cannot be the file that is meant.

    Returns:
        The text, or ``None`` with an error in ``findings``.
    """
    try:
        content = _content(path, largest)
    except IsADirectoryError:
        findings.error("not-a-file", f"'{findings.file}' is a directory", "name the file in it")
    except OSError as error:
        findings.error("unreadable", f"'{findings.file}' cannot be read: {error.strerror}", "check the file and its permissions")
    else:
        if len(content) <= largest:
            return _decoded(content, findings)
        findings.error("file-too-large", f"'{findings.file}' is larger than {largest // 1024} KiB", "name the right file")
    return None


def exists(path: Path) -> bool:
    """Whether something is there; names no file system takes are nowhere."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _content(path: Path, largest: int) -> bytes:
    with path.open("rb") as file:
        return file.read(largest + 1)


def _decoded(content: bytes, findings: Findings) -> str | None:
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        findings.error("not-utf8", f"'{findings.file}' is not UTF-8 text in this line", "save the file as UTF-8", line)
        return None
