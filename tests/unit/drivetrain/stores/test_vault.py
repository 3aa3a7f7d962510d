"""Sealing values with a key in a file."""

import asyncio

import pytest
from cryptography.fernet import Fernet

from drivetrain.model.errors import OutsideFailed
from drivetrain.stores.sqlite import open_store
from drivetrain.stores.vault import FernetVault, VaultFailed, open_vault

pytestmark = pytest.mark.anyio


@pytest.fixture
async def secrets(tmp_path):
    store = await open_store(tmp_path / "platform.db")
    yield store.secrets
    await store.close()


@pytest.fixture
def key_file(tmp_path):
    return tmp_path / "secret.key"


async def test_what_was_sealed_can_be_opened(secrets, key_file):
    vault = await open_vault(key_file, secrets)
    sealed = vault.seal(b"value")
    assert b"value" not in sealed
    assert vault.open(sealed) == b"value"
    assert vault.seal(b"value") != sealed


async def test_the_key_stays(secrets, key_file):
    sealed = (await open_vault(key_file, secrets)).seal(b"value")
    assert (await open_vault(key_file, secrets)).open(sealed) == b"value"


async def test_the_key_is_for_its_owner_alone(secrets, key_file):
    await open_vault(key_file, secrets)
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in key_file.parent.glob("secret*")] == ["secret.key"]


async def test_two_that_begin_at_once_have_one_key(secrets, key_file):
    vaults = await asyncio.gather(*(open_vault(key_file, secrets) for _ in range(5)))
    assert vaults[0].open(vaults[1].seal(b"value")) == b"value"


@pytest.mark.parametrize("change", [lambda sealed: b"", lambda sealed: b"x" + sealed, lambda sealed: sealed[:-5] + b"AAAA="])
async def test_what_was_changed_is_refused(secrets, key_file, change):
    vault = await open_vault(key_file, secrets)
    with pytest.raises(VaultFailed):
        vault.open(change(vault.seal(b"value")))


async def test_a_missing_key_is_noticed_at_the_start(secrets, key_file):
    await open_vault(key_file, secrets)
    key_file.unlink()
    with pytest.raises(VaultFailed, match=r"secret\.key' is missing"):
        await open_vault(key_file, secrets)
    assert not key_file.exists()


async def test_a_wrong_key_is_noticed_at_the_start(secrets, key_file):
    await open_vault(key_file, secrets)
    key_file.write_bytes(Fernet.generate_key())
    with pytest.raises(VaultFailed, match="not the key"):
        await open_vault(key_file, secrets)


@pytest.mark.parametrize("content", [b"", b"\n", b"nonsense", b"\xff\xfe", b"A" * 43 + b"="], ids=repr)
async def test_a_file_that_holds_no_key_is_told(secrets, key_file, content):
    await open_vault(key_file, secrets)
    key_file.write_bytes(content)
    with pytest.raises(VaultFailed, match="secret"):
        await open_vault(key_file, secrets)


async def test_a_place_that_cannot_be_written_is_told(secrets, tmp_path):
    with pytest.raises(OutsideFailed, match="cannot be written"):
        await open_vault(tmp_path / "nowhere" / "secret.key", secrets)


async def test_a_key_is_replaced_by_writing_a_new_one_above_it(secrets, key_file):
    old = await open_vault(key_file, secrets)
    sealed = old.seal(b"value")
    key_file.write_bytes(Fernet.generate_key() + b"\n" + key_file.read_bytes())
    both = await open_vault(key_file, secrets)
    assert both.open(sealed) == b"value"
    newer = FernetVault(key_file.read_bytes().split()[0])
    assert newer.open(both.seal(b"value")) == b"value"
    with pytest.raises(VaultFailed):
        newer.open(sealed)
