"""Sends one webhook to one receiver, once."""

from __future__ import annotations

import urllib.parse
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import anyio

from drivetrain import __version__
from drivetrain.model.errors import BadRequest
from drivetrain.platform.clock import Clock
from drivetrain.platform.redelivery import Answered, Refused, Result, Unreached
from drivetrain.platform.signing import signature_headers
from drivetrain.serving.outgoing import Outgoing

if TYPE_CHECKING:
    import httpx

#: Receivers should take a webhook and answer; what is slow to do they should do later.
_ANSWER_SECONDS = 15.0

#: The answer's status is what counts. A short body is read nevertheless, so that the connection can be used again.
_BODY_SECONDS = 1.0
_BODY_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Message:
    """What is sent.

    Attributes:
        id: The same whenever it is sent again.
        owner: Whose secret it is signed with.
        headers: Sent along.
    """

    id: str
    url: str
    body: bytes
    owner: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class WebhookSender:
    """Sends messages, signed.

    Args:
        outgoing: Whom may be talked to.
        secrets: What an owner's messages are signed with.
    """

    def __init__(self, outgoing: Outgoing, clock: Clock, secrets: Callable[[str], Awaitable[list[str]]]) -> None:
        self._outgoing = outgoing
        self._clock = clock
        self._secrets = secrets

    async def send(self, message: Message) -> Result:
        """Send a message once. What goes wrong is in the result."""
        import httpx

        now = self._clock.now()
        secrets = await self._secrets(message.owner)
        signature = signature_headers(secrets, message_id=message.id, sent_at=now, body=message.body)
        headers = {"User-Agent": f"drivetrain/{__version__}", **message.headers, **signature, "Content-Type": "application/json"}
        try:
            _ = urllib.parse.urlsplit(message.url).port  # raises where the client would fail in strange ways
            with anyio.fail_after(_ANSWER_SECONDS):
                return await self._post(message, headers, now)
        except TimeoutError:
            return Unreached(reason=f"it did not answer within {_ANSWER_SECONDS:g} s")
        except BadRequest as error:  # an address that we do not talk to
            return Refused(reason=error.message)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, ValueError) as error:  # ValueError: a host that is no name
            return Refused(reason=f"it is not a URL that can be called: {error}")
        except httpx.HTTPError as error:
            return Unreached(reason=str(error) or type(error).__name__)

    async def _post(self, message: Message, headers: Mapping[str, str], now: datetime) -> Result:
        client = self._outgoing.client()
        request = client.build_request("POST", message.url, content=message.body, headers=dict(headers))
        response = await client.send(request, stream=True, follow_redirects=False)
        try:
            await _read_some(response)
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()
        return Answered(status=response.status_code, retry_after=_retry_after(response.headers.get("retry-after"), now))


async def _read_some(response: httpx.Response) -> None:
    import httpx

    size = 0
    with anyio.move_on_after(_BODY_SECONDS):
        try:
            async for chunk in response.aiter_raw():
                size += len(chunk)
                if size > _BODY_BYTES:
                    return
        except httpx.HTTPError:
            return  # it has answered; that it broke off afterwards changes nothing


def _retry_after(text: str | None, now: datetime) -> timedelta | None:
    """Seconds, or a date."""
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text[:12]), 10**6))
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(moment - now, timedelta(0)) if moment.tzinfo is not None else None
