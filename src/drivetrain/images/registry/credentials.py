"""Who we are to a registry, read and kept where Docker keeps it: its config file, or the credential helper that the file names.

Podman's file is read too, since many machines have only that.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from drivetrain.images.reference import DOCKER_HUB
from drivetrain.model.errors import OutsideFailed

#: The name under which Docker keeps the credentials of its hub.
_HUB_KEY = "https://index.docker.io/v1/"

#: What helpers give as the user when the secret is a token that is traded for others.
_TOKEN_USER = "<token>"  # noqa: S105 (not a secret: the protocol's word)

_HELPER_PATIENCE_SECONDS = 60


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """A user of a registry.

    Attributes:
        username: The name.
        password: The password or access token; not shown when the object is printed.
        is_identity_token: Whether the password is a refresh token, to be traded for access tokens.
    """

    username: str
    password: str
    is_identity_token: bool = False

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r})"

    @property
    def basic(self) -> str:
        """The header of basic authentication."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class CredentialStore:
    """Docker's credentials of this user.

    Args:
        environ: Read for ``DOCKER_CONFIG``, ``REGISTRY_AUTH_FILE``, ``XDG_RUNTIME_DIR``, ``HOME`` and ``PATH``.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        home = Path(environ.get("HOME") or Path.home())
        self.file = Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"
        runtime = environ.get("XDG_RUNTIME_DIR")
        named = environ.get("REGISTRY_AUTH_FILE")
        self._others = [Path(named)] if named else [Path(runtime, "containers/auth.json")] if runtime else []

    def find(self, registry: str) -> Credentials | None:
        """The credentials for a registry, if there are any.

        Raises:
            OutsideFailed: A file or a helper that should know cannot be asked.
        """
        for file in (*self._others, self.file) if self._environ.get("REGISTRY_AUTH_FILE") else (self.file, *self._others):
            config = _read(file)
            helper = _helper_for(config, registry)
            found = self._ask(helper, registry) if helper else None
            if found := found or _from_file(config, registry):
                return found
        return None

    def keep(self, registry: str, credentials: Credentials) -> str:
        """Keep credentials for later; says where, for a person to read.

        Raises:
            OutsideFailed: They cannot be kept.
        """
        config = _read(self.file)
        helper = _helper_for(config, registry)
        if helper:
            entry = {"ServerURL": _key(registry), "Username": credentials.username, "Secret": credentials.password}
            self._call(helper, "store", json.dumps(entry))
            return f"the credential helper '{helper}'"
        encoded = base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()
        auths = {**_mapping(config.get("auths")), _key(registry): {"auth": encoded}}
        self._write({**config, "auths": auths})
        return f"'{self.file}'"

    def _ask(self, helper: str, registry: str) -> Credentials | None:
        answer = self._call(helper, "get", _key(registry), may_be_unknown=True)
        if answer is None:
            return None
        try:
            document = json.loads(answer)
            username, secret = document["Username"], document["Secret"]
        except (ValueError, LookupError, TypeError) as error:
            raise OutsideFailed(f"the credential helper '{helper}' gave an answer that cannot be read") from error
        if not secret:
            return None
        return Credentials(username=username, password=secret, is_identity_token=username == _TOKEN_USER)

    def _call(self, helper: str, verb: str, text: str, *, may_be_unknown: bool = False) -> str | None:
        program = shutil.which(f"docker-credential-{helper}", path=self._environ.get("PATH"))
        if program is None:
            raise OutsideFailed(
                f"'{self.file}' names the credential helper '{helper}', but there is no 'docker-credential-{helper}' on PATH",
                hint="install it, or remove it from that file",
            )
        try:
            done = subprocess.run(
                [program, verb],
                input=text,
                capture_output=True,
                text=True,
                timeout=_HELPER_PATIENCE_SECONDS,
                env=dict(self._environ),
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise OutsideFailed(f"the credential helper '{helper}' does not answer: {error}") from error
        if done.returncode == 0:
            return done.stdout
        said = (done.stdout + done.stderr).strip()
        if may_be_unknown and "credentials not found" in said:
            return None
        raise OutsideFailed(f"the credential helper '{helper}' failed: {said[-300:] or 'it did not say why'}")

    def _write(self, config: Mapping[str, Any]) -> None:
        """Replace the file at once; only this user may read it."""
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, temporary = tempfile.mkstemp(dir=self.file.parent)
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(json.dumps(config, indent="\t") + "\n")
                Path(temporary).replace(self.file.resolve())  # a link to a file elsewhere stays one
            finally:
                Path(temporary).unlink(missing_ok=True)
        except OSError as error:
            raise OutsideFailed(f"credentials cannot be kept in '{self.file}': {error.strerror or error}") from error


def _read(file: Path) -> Mapping[str, Any]:
    try:
        return _mapping(json.loads(file.read_bytes() or b"{}"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise OutsideFailed(f"'{file}' cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise OutsideFailed(f"'{file}' is not JSON: {error}", hint="mend it, or move it away") from error


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _helper_for(config: Mapping[str, Any], registry: str) -> str | None:
    """A helper's name, which becomes part of a program's: nothing but plain names is one."""
    helpers = _mapping(config.get("credHelpers"))
    named = helpers.get(_key(registry)) or helpers.get(registry) or config.get("credsStore")
    return named if isinstance(named, str) and named.replace("-", "").replace("_", "").replace(".", "").isalnum() else None


def _key(registry: str) -> str:
    return _HUB_KEY if registry == DOCKER_HUB else registry


def _from_file(config: Mapping[str, Any], registry: str) -> Credentials | None:
    auths = _mapping(config.get("auths"))
    for key in _keys(registry):
        entry = _mapping(auths.get(key))
        if token := entry.get("identitytoken"):
            return Credentials(username=_TOKEN_USER, password=str(token), is_identity_token=True)
        with contextlib.suppress(binascii.Error, UnicodeDecodeError, TypeError):
            username, colon, password = base64.b64decode(entry.get("auth") or "").decode().partition(":")
            if colon and username:
                return Credentials(username=username, password=password.rstrip("\0"))
    return None


def _keys(registry: str) -> Iterator[str]:
    """The names under which tools have kept credentials of one registry."""
    yield _key(registry)
    for scheme in ("", "https://", "http://"):
        for path in ("", "/", "/v1/", "/v2/"):
            yield f"{scheme}{registry}{path}"
