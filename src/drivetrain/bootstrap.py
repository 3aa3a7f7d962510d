"""The only chooser of adapters: a platform on this machine, with what is built in."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from random import SystemRandom

from drivetrain.fleets.process import ProcessFleet
from drivetrain.platform.files import FileId
from drivetrain.platform.ids import Ids
from drivetrain.platform.options import PlatformOptions
from drivetrain.platform.parts import Adapters, Parts
from drivetrain.platform.platform import Platform
from drivetrain.platform.tracing import Tracer
from drivetrain.platform.url_signature import UrlSignatures
from drivetrain.platform.webhooks import Render
from drivetrain.serving.outgoing import Outgoing, Reach
from drivetrain.settings import Settings
from drivetrain.stores.files import open_files
from drivetrain.stores.sqlite import open_store
from drivetrain.stores.vault import open_vault

_log = logging.getLogger(__name__)

#: The platform's own value that URLs are signed with.
_URL_KEY = "url_key"


class SystemClock:
    """Implements ``Clock`` by the machine's clocks."""

    def __init__(self) -> None:
        self._began_at = datetime.now(timezone.utc)
        self._began = time.monotonic()

    def now(self) -> datetime:
        """Implements ``Clock``."""
        return datetime.now(timezone.utc)

    def monotonic(self) -> float:
        """Implements ``Clock``."""
        return time.monotonic()

    def steady(self) -> datetime:
        """Implements ``Clock``."""
        return self._began_at + timedelta(seconds=time.monotonic() - self._began)


@dataclass(frozen=True, kw_only=True)
class OpenedPlatform:
    """A platform that is put together and not started.

    Attributes:
        platform: Whoever opened it stops it, started or not.
        signer: Signs the URLs that gateways give out.
        renders: By gateway, what makes the bodies of webhooks; gateways add theirs before the start.
    """

    platform: Platform
    signer: UrlSignatures
    renders: dict[str, Render]


async def open_platform(directory: Path, settings: Settings, options: PlatformOptions, *, internal_url: str) -> OpenedPlatform:
    """A platform that keeps everything in one directory and runs its runners as processes of this machine.

    Args:
        directory: Made where it is not there; one platform at a time.
        internal_url: Where runners reach it.

    Raises:
        OutsideFailed: The directory cannot be used, or is in use.
    """
    await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True, mode=0o700)
    ids = Ids(secrets.token_bytes)
    renders: dict[str, Render] = {}
    async with contextlib.AsyncExitStack() as undoing:
        store = await open_store(directory / "platform.db")  # first of all: it is what keeps a second platform out
        undoing.push_async_callback(store.close)
        files = await open_files(directory / "files", lambda: FileId(ids.text(26)))
        undoing.push_async_callback(files.aclose)
        vault = await open_vault(directory / "secret.key", store.secrets)
        sealed = await store.secrets.put_value(_URL_KEY, vault.seal(secrets.token_bytes(32)))
        fleet = ProcessFleet(settings, directory / "runners")
        undoing.push_async_callback(fleet.aclose)
        await fleet.open()
        adapters = Adapters(
            store=store,
            fleet=fleet,
            files=files,
            vault=vault,
            clock=SystemClock(),
            ids=ids,
            random=SystemRandom(),
            random_bytes=secrets.token_bytes,
            outgoing=Outgoing(Reach(allow_private=options.allow_private)),
            renders=renders,
            directory=directory,
            internal_url=internal_url,
            tracer=_tracer(settings),
        )
        platform = Platform(Parts(adapters, options))
        undoing.pop_all()  # from here on ``platform.stop`` ends them
    return OpenedPlatform(platform=platform, signer=UrlSignatures([vault.open(sealed)]), renders=renders)


def _tracer(settings: Settings) -> Tracer | None:
    if not settings.wants_traces:
        return None
    try:
        from drivetrain.serving.tracing import Tracing
    except ImportError:
        _log.warning("traces are asked for, but OpenTelemetry is not installed; install drivetrain[tracing]")
        return None
    return Tracing("drivetrain-platform")
