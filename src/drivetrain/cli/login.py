"""``drivetrain login``: credentials for a registry, kept where Docker keeps them."""

from __future__ import annotations

import os
import sys

import click

from drivetrain.cli.image_options import insecure_option
from drivetrain.cli.terminal import Terminal
from drivetrain.images.errors import AccessDenied
from drivetrain.images.reference import DOCKER_HUB, parse_reference
from drivetrain.images.registry.client import Registry, RegistryOptions
from drivetrain.images.registry.credentials import Credentials, CredentialStore
from drivetrain.model.errors import Misuse
from drivetrain.settings import read_settings


@click.command(name="login", short_help="Keep credentials for a registry.")
@click.argument("registry", default=DOCKER_HUB, metavar="[REGISTRY]")
@click.option("-u", "--username", metavar="NAME", help="The user. [default: asked for]")
@click.option(
    "--password-stdin", "--token-stdin", "from_stdin", is_flag=True, help="Read the password or token from standard input."
)
@insecure_option
@click.pass_obj
def command(terminal: Terminal, registry: str, username: str | None, from_stdin: bool, insecure: bool) -> None:
    """Try credentials for a registry, and keep them where Docker does: in its credential helper, or its config file.

    REGISTRY is a host, like registry.example.com; without one it is Docker's own registry.

    \b
        drivetrain login registry.example.com
        echo "$TOKEN" | drivetrain login registry.example.com -u ci --password-stdin
    """
    reference = parse_reference(f"{registry.removeprefix('https://').removeprefix('http://').rstrip('/')}/library/any")
    credentials = _ask(username, from_stdin=from_stdin)
    environ = read_settings(os.environ).environ
    store = CredentialStore(environ)
    with Registry(reference, _Given(credentials), RegistryOptions(insecure=insecure, environ=environ)) as client:
        try:
            client.check()
        except AccessDenied as error:
            raise AccessDenied(
                f"'{reference.registry}' refuses these credentials", hint="check the user and the password"
            ) from error
    terminal.note(f"Kept for '{reference.registry}' in {store.keep(reference.registry, credentials)}")


def _ask(username: str | None, *, from_stdin: bool) -> Credentials:
    if from_stdin:
        if username is None:
            raise Misuse("a password from standard input needs -u with the user's name")
        return Credentials(username=username, password=sys.stdin.readline().rstrip("\r\n"))
    if not sys.stdin.isatty():
        raise Misuse("there is no terminal to ask for the password on", hint="give it with --password-stdin")
    name = username or click.prompt("User", err=True)
    return Credentials(username=name, password=click.prompt("Password", hide_input=True, err=True))


class _Given(CredentialStore):
    """Knows the credentials that were typed."""

    def __init__(self, credentials: Credentials) -> None:
        super().__init__({})
        self._given = credentials

    def find(self, registry: str) -> Credentials | None:
        return self._given
