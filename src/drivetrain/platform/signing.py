"""Signs webhooks as Standard Webhooks (https://www.standardwebhooks.com) says, so receivers verify them with any of its libraries.

A message's signature is an HMAC-SHA256 over ``id.timestamp.body``. While a secret is being replaced, the header holds one signature
by the new and one by the old: receivers accept a message if one of them is right.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from datetime import datetime

#: Replicate's Python client splits a secret at "_" and wants two parts: so the rest is standard base64, which has no "_".
_PREFIX = "whsec_"

#: As long as the digest; the standard asks for 24 to 64.
_SECRET_BYTES = 32


def new_secret(random_bytes: Callable[[int], bytes]) -> str:
    """A secret to sign with, as receivers are told it.

    Args:
        random_bytes: Such as ``secrets.token_bytes``.
    """
    return _PREFIX + base64.b64encode(random_bytes(_SECRET_BYTES)).decode()


def secret_of_owner(secret: str, owner: str) -> str:
    """What an owner's messages are signed with: derived from a platform's own secret, so that no owner can sign for another."""
    derived = hmac.digest(secret_key(secret), f"drivetrain webhooks of\n{owner}".encode(), hashlib.sha256)
    return _PREFIX + base64.b64encode(derived).decode()


def signature_headers(secrets: Sequence[str], *, message_id: str, sent_at: datetime, body: bytes) -> dict[str, str]:
    """The headers that prove where a message comes from.

    Args:
        secrets: From ``new_secret``; the message is signed with each.
        message_id: The same whenever this message is sent again.
    """
    timestamp = str(int(sent_at.timestamp()))
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{_signature(secret, signed)}" for secret in secrets),
    }


def secret_key(secret: str) -> bytes:
    """The bytes that a secret stands for."""
    return base64.b64decode(secret.removeprefix(_PREFIX))


def _signature(secret: str, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(secret_key(secret), signed, hashlib.sha256)).decode()
