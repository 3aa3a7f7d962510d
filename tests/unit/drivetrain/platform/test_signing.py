"""Webhook signatures, against the standard's own example."""

import base64
import hashlib
import hmac
import secrets
from datetime import datetime, timezone

from hypothesis import given
from hypothesis import strategies as st

from drivetrain.platform.signing import new_secret, secret_key, secret_of_owner, signature_headers

AT = datetime.fromtimestamp(1614265330.9, timezone.utc)


def test_the_example_of_the_standard():
    headers = signature_headers(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        sent_at=AT,
        body=b'{"test": 2432232314}',
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_secret_has_two_parts_as_replicates_client_wants():
    for _ in range(100):
        _, key = new_secret(secrets.token_bytes).split("_")
        assert len(base64.b64decode(key, validate=True)) == 32


@given(st.lists(st.binary(min_size=24, max_size=64), min_size=1, max_size=3), st.binary(), st.text(st.characters(codec="ascii")))
def test_each_secret_verifies(keys, body, message_id):
    """As a receiver does it that knows one of the secrets."""
    spoken = [f"whsec_{base64.b64encode(key).decode()}" for key in keys]
    headers = signature_headers(spoken, message_id=message_id, sent_at=AT, body=body)
    signatures = headers["webhook-signature"].split(" ")
    signed = f"{message_id}.{headers['webhook-timestamp']}.".encode() + body
    for key in keys:
        digest = hmac.new(key, signed, hashlib.sha256).digest()
        assert f"v1,{base64.b64encode(digest).decode()}" in signatures


def test_each_owner_has_a_secret_of_its_own():
    """By which nobody can sign for another, nor find out what all are derived from."""
    platforms = new_secret(lambda count: b"s" * count)
    owners = {secret_of_owner(platforms, owner) for owner in ("acme", "other", "")}
    assert len(owners | {platforms}) == 4
    assert secret_of_owner(platforms, "acme") in owners
    assert all(len(secret_key(secret)) == 32 and secret.count("_") == 1 for secret in owners)
