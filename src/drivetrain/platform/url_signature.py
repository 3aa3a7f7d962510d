"""URLs that are themselves the right to what they lead to, until they expire.

What is signed is the path as it stands in the URL, quoted, and the expiry; not the host, for a platform may be called by several
names. Other members of the query are the reader's own affair.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import urllib.parse
from collections.abc import Sequence
from datetime import datetime

#: Keeps what is signed here from being taken for something else that the same key might sign.
_PURPOSE = b"drivetrain url\n"
_EXPIRY = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)


class UrlSignatures:
    """Signs paths, and knows its own signatures.

    Args:
        keys: The first one signs; all of them verify, so that a key can be replaced.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        assert keys
        self._keys = tuple(keys)

    def sign(self, path: str, expires_at: datetime) -> str:
        """The query that makes a path a right to read it: ``expires=…&signature=…``.

        Args:
            path: As it stands in the URL, quoted.
        """
        expiry = str(int(expires_at.timestamp()))
        return f"expires={expiry}&signature={_signature(self._keys[0], path, expiry)}"

    def verify(self, path: str, query: str, now: datetime) -> bool:
        """Whether a query makes the path a right to read it, now."""
        try:
            members = urllib.parse.parse_qs(query, keep_blank_values=True, errors="strict", max_num_fields=20)
        except ValueError:
            return False
        expiries, signatures = members.get("expires", []), members.get("signature", [])
        if len(expiries) != 1 or len(signatures) != 1 or not _EXPIRY.fullmatch(expiries[0]):
            return False
        right = [_signature(key, path, expiries[0]) for key in self._keys]
        is_ours = any([hmac.compare_digest(each.encode(), signatures[0].encode()) for each in right])  # noqa: C419 (compares all)
        return is_ours and now.timestamp() < int(expiries[0])


def _signature(key: bytes, path: str, expiry: str) -> str:
    digest = hmac.digest(key, _PURPOSE + f"{path}\n{expiry}".encode(errors="surrogatepass"), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def sign_download(key: bytes, *, owner: str, file_id: str, expiry: str) -> str:
    """Replicate's signature of a file's download, which its users compute themselves: over ``owner id expiry``."""
    digest = hmac.digest(key, f"{owner} {file_id} {expiry}".encode(errors="surrogatepass"), hashlib.sha256)
    return base64.b64encode(digest).decode()


def verify_download(keys: Sequence[bytes], *, owner: str, file_id: str, expiry: str, signature: str, now: datetime) -> bool:
    """Whether a download is signed by one of the keys and has not expired.

    Args:
        expiry: Unix seconds, as they stand in the URL.
        signature: Standard base64, or the form of it that is safe in URLs; padded or not.
    """
    if not _EXPIRY.fullmatch(expiry):
        return False
    given = signature.replace("-", "+").replace("_", "/").rstrip("=").encode(errors="surrogatepass")
    right = [sign_download(key, owner=owner, file_id=file_id, expiry=expiry).rstrip("=") for key in keys]
    is_ours = any([hmac.compare_digest(each.encode(), given) for each in right])  # noqa: C419 (compares all)
    return is_ours and now.timestamp() < int(expiry)
