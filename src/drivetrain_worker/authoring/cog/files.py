"""Where older releases kept what turns an output file into text; some projects call it."""

from __future__ import annotations

import base64
import mimetypes
import os
from typing import IO, Any


def upload_file(fh: IO[Any]) -> str:
    """The whole content of a file as a ``data:`` URL, from its beginning where it can be rewound."""
    if fh.seekable():
        fh.seek(0)
    content = fh.read()
    data = content.encode("utf-8") if isinstance(content, str) else content
    media_type = mimetypes.guess_type(guess_filename(fh))[0] or "application/octet-stream"
    return "data:%s;base64,%s" % (media_type, base64.b64encode(data).decode("ascii"))


def guess_filename(obj: Any) -> str:
    """The base name of an open file, or ``file`` if it has none."""
    name = getattr(obj, "name", None)
    return os.path.basename(name) if isinstance(name, (str, os.PathLike)) else "file"
