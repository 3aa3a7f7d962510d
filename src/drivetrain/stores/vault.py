"""Seal values with a key in a file.

The file has a key on each line: the first one seals, all of them open. So a key is replaced by writing a new one above it, and the
old one is taken away when everything has been sealed anew. Whether the file is the one that values were sealed with is seen when it
is opened: the store keeps a known value sealed with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from drivetrain.model.errors import OutsideFailed
from drivetrain.platform.secret import SecretStore

#: Under this name the store keeps a known value, sealed.
_PROOF = "vault.proof"
_KNOWN = b"sealed with the right key"


class VaultFailed(OutsideFailed):
    """Sealed values cannot be opened: the key is missing, is another one, or they were changed."""

    code = "vault_failed"


class FernetVault:
    """Implements ``Vault`` by Fernet (AES-128-CBC with HMAC-SHA256)."""

    def __init__(self, *keys: bytes) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def seal(self, value: bytes) -> bytes:
        """Encrypt."""
        return self._fernet.encrypt(value)

    def open(self, sealed: bytes) -> bytes:
        """Decrypt.

        Raises:
            VaultFailed: It was sealed with another key, or changed since.
        """
        try:
            return self._fernet.decrypt(sealed)
        except InvalidToken as error:
            raise VaultFailed(
                "a sealed value was sealed with another key, or was changed since",
                hint="set the secret again, or restore the key file",
            ) from error


async def open_vault(key_file: Path, store: SecretStore) -> FernetVault:
    """The vault whose keys are in a file. Where there is none, and nothing was sealed yet, it is made, for its owner alone to read.

    Raises:
        VaultFailed: The file is missing though values were sealed with it; or it is another one; or it holds no keys.
        OutsideFailed: It cannot be read or written.
    """
    proof = await store.value(_PROOF)
    keys = await asyncio.to_thread(_read_keys, key_file)
    if keys is None:
        if proof is not None:
            raise VaultFailed(
                f"'{key_file}' is missing, and secrets were sealed with it",
                hint="restore it from a backup; without it the secrets that the platform keeps cannot be read",
            )
        keys = await asyncio.to_thread(_make_keys, key_file)
    vault = _vault_of(keys, key_file)
    if proof is None:
        proof = await store.put_value(_PROOF, vault.seal(_KNOWN))
    try:
        is_right = vault.open(proof) == _KNOWN
    except VaultFailed:
        is_right = False
    if not is_right:
        raise VaultFailed(f"'{key_file}' is not the key that secrets were sealed with", hint="restore the right one from a backup")
    return vault


def _vault_of(keys: list[bytes], key_file: Path) -> FernetVault:
    try:
        return FernetVault(*keys)
    except ValueError as error:
        raise VaultFailed(
            f"'{key_file}' does not hold a key on each line", hint="restore it from a backup"
        ) from error  # of the two, InvalidKey and a text that is no base64, both are ValueErrors


def _read_keys(key_file: Path) -> list[bytes] | None:
    try:
        lines = key_file.read_bytes().split()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutsideFailed(f"'{key_file}' cannot be read: {error.strerror}", hint="see that it belongs to you") from error
    if not lines:
        raise VaultFailed(f"'{key_file}' is empty", hint="restore it from a backup")
    return lines


def _make_keys(key_file: Path) -> list[bytes]:
    """Write a new key, whole or not at all; where another process was faster, its key counts."""
    begun = key_file.with_name(f"{key_file.name}.{secrets.token_hex(8)}")
    key = Fernet.generate_key()
    try:
        descriptor = os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, key + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(begun, key_file)
        directory = os.open(key_file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise OutsideFailed(
            f"'{key_file}' cannot be written: {error.strerror}", hint="see that its directory may be written"
        ) from error
    finally:
        begun.unlink(missing_ok=True)
    return _read_keys(key_file) or []
