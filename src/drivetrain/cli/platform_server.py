"""Runs a platform until it is told to stop: puts the gateways before it, listens, tells on the terminal what goes on."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import uvloop

from drivetrain.bootstrap import OpenedPlatform, open_platform
from drivetrain.cli.access_log import AccessLog, TerminalHandler
from drivetrain.cli.connection import KnownPlatform, note, read_known
from drivetrain.cli.state_lock import StateLock
from drivetrain.cli.terminal import Terminal
from drivetrain.gateways.http import files, observation
from drivetrain.gateways.http.addresses import FILES_PATH, Addresses
from drivetrain.gateways.http.guard import Guard
from drivetrain.gateways.http.server import HttpServer
from drivetrain.gateways.http.shell import Gateway, Shell, ShellHooks
from drivetrain.gateways.native.gateway import native_gateway
from drivetrain.gateways.native.rendering import render_error
from drivetrain.gateways.replicate.gateway import replicate_gateway
from drivetrain.platform.access import Caller, Unauthenticated
from drivetrain.platform.key import ApiKey, Scope
from drivetrain.platform.options import PlatformOptions
from drivetrain.platform.platform import Platform
from drivetrain.serving.http.listening import bind
from drivetrain.settings import Settings


@dataclass(frozen=True, kw_only=True)
class UpOptions:
    """How to run a platform.

    Attributes:
        state: Its state directory.
        public_url: What clients call it; ``None`` where that is where it listens.
        trusted_proxies: Whose word on that is believed.
        cors_origin: Origin of web pages that may call.
        owner: Whom the first key is for; ``None`` takes the user's name.
        makes_key: Whether to make a new administrator's key although there are keys.
        platform: All else.
    """

    state: Path
    public_url: str | None
    trusted_proxies: Sequence[IPv4Network | IPv6Network]
    cors_origin: str | None
    owner: str | None
    makes_key: bool
    platform: PlatformOptions


def run(options: UpOptions, settings: Settings, lock: StateLock, listener: socket.socket, terminal: Terminal) -> int:
    """Run a platform until SIGINT or SIGTERM; the exit status."""
    loop = uvloop.new_event_loop()
    try:
        return loop.run_until_complete(_PlatformServer(options, settings, lock, terminal).run(listener))
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


class _PlatformServer:
    def __init__(self, options: UpOptions, settings: Settings, lock: StateLock, terminal: Terminal) -> None:
        self._options = options
        self._settings = settings
        self._lock = lock
        self._terminal = terminal

    async def run(self, listener: socket.socket) -> int:
        logger = logging.getLogger("drivetrain")
        logger.addHandler(handler := TerminalHandler(self._terminal))
        try:
            with bind("127.0.0.1", 0) as internal_listener:  # runners are on this machine, and nobody else needs what they do
                return await self._serve(listener, internal_listener)
        finally:
            logger.removeHandler(handler)

    async def _serve(self, listener: socket.socket, internal_listener: socket.socket) -> int:
        listening_url = _url_of(listener)
        opened = await open_platform(
            self._options.state, self._settings, self._options.platform, internal_url=_url_of(internal_listener)
        )
        platform = opened.platform
        addresses = Addresses(
            public_url=self._options.public_url,
            listening_url=listening_url,
            trusted_proxies=self._options.trusted_proxies,
            signer=opened.signer,
            now=platform.clock.now,
            lifetime=self._options.platform.keep_files,
        )
        guard = Guard(platform)
        public = HttpServer(self._shell(guard, opened, addresses), listener)
        internal = HttpServer(self._runner_shell(guard, platform), internal_listener)
        stop = _StopSignals()
        with stop.heeded():
            try:
                await internal.start()
                await platform.start()
                key = await self._key(platform)
                await public.start()
                self._announce(listener, listening_url, key)
                await stop.first.wait()
                self._terminal.note("Stopping: what runs may end; once more to end it at once")
            finally:
                stopping = asyncio.create_task(_stop(public, internal, platform))
                hurried = asyncio.create_task(stop.second.wait())
                await asyncio.wait((stopping, hurried), return_when=asyncio.FIRST_COMPLETED)
                self._access_log.flush()
                if not stopping.done():
                    _leave()
                hurried.cancel()
                stopping.result()
        return 0

    def _shell(self, guard: Guard, opened: OpenedPlatform, addresses: Addresses) -> Shell:
        platform = opened.platform
        protocols = [
            native_gateway(guard, platform, addresses),
            replicate_gateway(guard=guard, platform=platform, addresses=addresses),
        ]
        opened.renders.update({each.name: each.render_webhook for each in protocols if each.render_webhook is not None})
        own = Gateway(
            name="files",
            prefixes=(FILES_PATH,),
            routes=files.public_routes(guard, addresses, platform.files),
            render_error=render_error,
        )
        watching = Gateway(
            name="observation",
            prefixes=("/", "/healthz", "/readyz", "/metrics"),
            routes=observation.routes(guard, platform, lambda: shell.statistics),
            render_error=render_error,
            is_logged=False,
        )
        access_log = self._access_log = AccessLog(self._terminal, as_json=not self._terminal.is_interactive)
        shell = Shell(
            [*protocols, own, watching],
            cors_origin=self._options.cors_origin,
            client_of=addresses.client_address,
            hooks=ShellHooks(access=access_log.tell, bug=self._tell_bug),
        )
        return shell

    def _runner_shell(self, guard: Guard, platform: Platform) -> Shell:
        routes = files.runner_routes(guard, platform, platform.files, limit=self._options.platform.file_bytes)
        gateway = Gateway(name="runners", prefixes=("/runners",), routes=routes, render_error=render_error, is_logged=False)
        return Shell([gateway], hooks=ShellHooks(bug=self._tell_bug))

    def _tell_bug(self, sentence: str, traceback: str) -> None:
        self._terminal.quiet(traceback.rstrip())
        self._terminal.error(f"the platform met a bug of its own: {sentence}", hint="please report it")

    async def _key(self, platform: Platform) -> str | None:
        """The administrator's key that this user knows, or a new one if there is none; printed only if it is new."""
        state = str(self._options.state)
        known = next((each.key for each in read_known(self._settings.connections_file) if each.state == state), "")
        if known and not self._options.makes_key:
            with contextlib.suppress(Unauthenticated):
                await platform.authenticate(known)
                return known
        nobody = datetime.fromtimestamp(0, timezone.utc)
        owner = _owner(self._options.owner)
        self_made = ApiKey(
            id="platform", digest="", owner=owner, scope=Scope.ADMIN, name="the platform", hint="", created_at=nobody
        )
        caller = Caller(key=self_made)
        if await platform.keys(caller) and not self._options.makes_key:
            return None
        _, text = await platform.add_key(caller, owner=owner, scope=Scope.ADMIN, name="administrator")
        sys.stdout.write(f"API key of an administrator, for '{owner}', shown only now: {text}\n")
        sys.stdout.flush()
        return text

    def _announce(self, listener: socket.socket, listening_url: str, key: str | None) -> None:
        options, terminal = self._options, self._terminal
        self._lock.tell(listening_url)
        note(self._settings.connections_file, KnownPlatform(state=str(options.state), url=listening_url, key=key or ""))
        terminal.note(f"State in {options.state}")
        if key is None:
            terminal.note("No key of this platform is known to you here; with --new-key, a new one is made")
        if options.public_url is None and listener.getsockname()[0] in ("0.0.0.0", "::"):  # noqa: S104 (compared, not bound)
            terminal.warn(f"webhooks will name files as below {listening_url}; --public-url says what others call this machine")
        terminal.note(f"Listening on {listening_url}" + (f", for clients {options.public_url}" if options.public_url else ""))


class _StopSignals:
    """SIGINT, SIGTERM, SIGHUP (its terminal was closed): the first asks to stop, the second not to wait for anything.

    Who starts it with SIGHUP ignored, as ``nohup`` does, wants it to outlive its terminal.
    """

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()

    @contextlib.contextmanager
    def heeded(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, self._heed)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _heed(self) -> None:
        (self.second if self.first.is_set() else self.first).set()


async def _stop(public: HttpServer, internal: HttpServer, platform: Platform) -> None:
    await public.stop(platform.stop)
    await internal.stop()  # until the last runner has ended, it may have files to leave


def _leave() -> None:
    """End at once. Runners end with us, and what was cut off is run again after the next start."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(130)


def _owner(wanted: str | None) -> str:
    if wanted is not None:
        return wanted
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        name = ""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("._-")[:64] or "owner"


def _url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 (shown, not bound)
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
