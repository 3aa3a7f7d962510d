"""``drivetrain up``: a platform on this machine."""

from __future__ import annotations

import math
import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drivetrain.cli.connection import DEFAULT_PORT
from drivetrain.cli.terminal import Terminal
from drivetrain.model.errors import Misuse
from drivetrain.settings import read_settings

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

#: For ever, as far as anybody will see: what is reckoned with it has to stay a date.
_MOST_DAYS = 36_500
#: More than any machine has, and in bytes still a number of 64 bits.
_MOST_GB = 10**9


class _Amount(click.FloatRange):
    """A number in a range, in which NaN is not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Implements ``click.ParamType``."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"'{value}' is not a number", param, ctx)
        return number


@click.command(name="up", short_help="Start a platform on this machine.")
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIRECTORY",
    help="Where everything is kept. [default: ~/.local/share/drivetrain]",
)
@click.option(
    "-p",
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    metavar="PORT",
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen on; 0.0.0.0 is every one of this machine's.",
)
@click.option(
    "--public-url",
    metavar="URL",
    help="What clients call it, if that is another address, such as a proxy's. [default: where it listens]",
)
@click.option(
    "--trusted-proxy",
    "trusted_proxies",
    multiple=True,
    metavar="NETWORK",
    help="A proxy whose X-Forwarded headers are believed, as an address or a network. May be repeated.",
)
@click.option("--cors-origin", metavar="ORIGIN", help="Origin of web pages that may call the API; * is every one.")
@click.option(
    "--allow-private-addresses", "allow_private", is_flag=True, help="Let URLs in inputs and webhooks lead to private addresses."
)
@click.option(
    "--keep-files",
    type=_Amount(min=0, min_open=True, max=24 * _MOST_DAYS),
    default=24,
    show_default=True,
    metavar="HOURS",
    help="How long files are kept.",
)
@click.option(
    "--keep-data",
    type=_Amount(min=0, min_open=True, max=_MOST_DAYS),
    default=30,
    show_default=True,
    metavar="DAYS",
    help="How long inputs, outputs and logs of predictions are kept.",
)
@click.option(
    "--quota",
    type=_Amount(min=0, min_open=True, max=_MOST_GB),
    metavar="GB",
    help="Room for each owner's files. [default: no limit]",
)
@click.option(
    "--max-file-size",
    type=_Amount(min=0, min_open=True, max=_MOST_GB),
    default=10,
    show_default=True,
    metavar="GB",
    help="Largest file.",
)
@click.option(
    "--stop-grace",
    type=_Amount(min=0, max=86_400 * _MOST_DAYS),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="How long predictions may go on when it is stopped.",
)
@click.option("--owner", metavar="OWNER", help="Whom the first API key is for. [default: your user name]")
@click.option("--new-key", is_flag=True, help="Make a new administrator's key, if the first one is lost.")
@click.pass_obj
def command(
    terminal: Terminal,
    state: Path | None,
    port: int,
    host: str,
    public_url: str | None,
    trusted_proxies: tuple[str, ...],
    cors_origin: str | None,
    allow_private: bool,
    keep_files: float,
    keep_data: float,
    quota: float | None,
    max_file_size: float,
    stop_grace: float,
    owner: str | None,
    new_key: bool,
) -> int:
    """Start a platform on this machine: a durable queue, runners started and stopped by demand, files, webhooks, secrets, logs.

    It runs until Ctrl-C or "drivetrain down", and keeps everything in one directory: started again, it goes on where it was.
    The first time, it prints an administrator's API key, and notes it for this user's commands.

    \b
        drivetrain up
        drivetrain deploy --name me/hello
        drivetrain call me/hello -i text="a horse"
    """
    try:
        from drivetrain.cli.platform_server import UpOptions, run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "cryptography"):
            raise
        raise Misuse("a platform needs packages that are not installed", hint="pip install 'drivetrain[platform]'") from error
    from drivetrain.cli.state_lock import StateLock
    from drivetrain.platform.options import PlatformOptions
    from drivetrain.serving.http.listening import bind

    settings = read_settings(os.environ)
    options = UpOptions(
        state=(state or settings.state_directory).absolute(),
        public_url=_public(public_url),
        trusted_proxies=_networks(trusted_proxies),
        cors_origin=cors_origin,
        owner=owner,
        makes_key=new_key,
        platform=PlatformOptions(
            file_bytes=int(max_file_size * 1024**3),
            quota_bytes=int(quota * 1024**3) if quota is not None else None,
            keep_files=timedelta(hours=keep_files),
            keep_data=timedelta(days=keep_data),
            keep_records=max(timedelta(days=keep_data), PlatformOptions.keep_records),  # data go with the record they are of
            stop_grace=timedelta(seconds=stop_grace),
            allow_private=allow_private,
        ),
    )
    with StateLock(options.state) as lock, bind(host, port) as listener:
        return run(options, settings, lock, listener, terminal)


def _public(url: str | None) -> str | None:
    if url is None:
        return None
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or parts.query or parts.fragment:
        raise Misuse(f"'{url}' cannot be the public URL", hint="it has no path: --public-url https://models.example.com")
    return f"{parts.scheme}://{parts.netloc}"


def _networks(texts: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    from ipaddress import ip_network

    networks = []
    for text in texts:
        try:
            networks.append(ip_network(text, strict=False))
        except ValueError as error:
            raise Misuse(f"'{text}' is no address or network", hint="--trusted-proxy 10.0.0.0/8") from error
    return tuple(networks)
