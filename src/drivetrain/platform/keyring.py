"""The API keys, in memory: every request brings one."""

from __future__ import annotations

from drivetrain.platform.access import Caller, Unauthenticated
from drivetrain.platform.clock import Clock
from drivetrain.platform.key import ApiKey, KeyStore, digest_of, looks_like_key


class Keyring:
    """Owns the platform's view of its keys; writes go through to the store first."""

    def __init__(self, store: KeyStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._keys: dict[str, ApiKey] = {}

    async def load(self) -> None:
        """Read everything."""
        self._keys = {key.digest: key for key in await self._store.keys()}

    async def authenticate(self, text: str | None) -> Caller:
        """Whose key this is; without one, nobody in particular.

        Raises:
            Unauthenticated: The key is not known, or has expired.
        """
        if text is None:
            return Caller()
        key = self._keys.get(digest_of(text))
        if key is None:
            if not looks_like_key(text):
                raise Unauthenticated("that is not an API key of this platform: they begin with 'dt_'")
            raise Unauthenticated("this API key is not known here; it may have been revoked")
        if key.expires_at is not None and key.expires_at <= self._clock.now():
            raise Unauthenticated(f"this API key expired at {key.expires_at:%Y-%m-%d %H:%M} UTC")
        return Caller(key=key)

    async def keys(self) -> list[ApiKey]:
        """All of them, oldest first."""
        return sorted(self._keys.values(), key=lambda key: key.created_at)

    async def add(self, key: ApiKey) -> None:
        """Add a key."""
        await self._store.add_key(key)
        self._keys[key.digest] = key

    async def remove(self, key_id: str) -> None:
        """Make a key worthless."""
        await self._store.remove_key(key_id)
        self._keys = {digest: key for digest, key in self._keys.items() if key.id != key_id}
