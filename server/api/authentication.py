"""Who calls: HTTP Basic credentials of an account or an API key, remembered for a few seconds."""

from __future__ import annotations

import base64
import binascii
import hmac
import time
from hashlib import sha256
from typing import Protocol
from uuid import UUID

from server.domain import ids
from server.domain.accounts import Identity, secret_hash
from server.domain.errors import Unauthenticated
from server.domain.ids import Kind

_LONGEST_HEADER = 1024


class Directory(Protocol):
    """Where identities are kept."""

    async def account_identity(self, account: UUID) -> Identity | None: ...

    async def key_identity(self, key: UUID) -> Identity | None: ...


class Authenticator:
    """Finds the account behind an ``authorization`` value.

    Successes are remembered, by a hash of the value, for ``seconds``; so long a revoked key still works.
    """

    def __init__(self, directory: Directory, *, seconds: float = 5.0, entries: int = 1024) -> None:
        self._directory = directory
        self._seconds = seconds
        self._entries = entries
        self._known: dict[bytes, tuple[UUID, float]] = {}

    async def account(self, authorization: str) -> UUID:
        """Return the account. Raises ``Unauthenticated`` for credentials that are missing, malformed or wrong."""
        digest = sha256(authorization.encode()).digest()
        known = self._known.get(digest)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        account = await self._look_up(authorization)
        self._remember(digest, account)
        return account

    async def _look_up(self, authorization: str) -> UUID:
        user, secret = _basic(authorization)
        identity = await self._identity(user)
        if identity is None or not hmac.compare_digest(identity.secret_hash, secret_hash(secret)):
            raise _refused()
        return identity.account_id

    async def _identity(self, user: str) -> Identity | None:
        if (account := ids.decode(Kind.ACCOUNT, user)) is not None:
            return await self._directory.account_identity(account)
        if (key := ids.decode(Kind.API_KEY, user)) is not None:
            return await self._directory.key_identity(key)
        return None

    def _remember(self, digest: bytes, account: UUID) -> None:
        self._known.pop(digest, None)
        if len(self._known) >= self._entries:
            del self._known[next(iter(self._known))]  # the oldest
        self._known[digest] = (account, time.monotonic() + self._seconds)


def _basic(authorization: str) -> tuple[str, str]:
    """User and password (RFC 7617)."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic" or len(encoded) > _LONGEST_HEADER:
        raise _refused()
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise _refused() from None
    if not colon:
        raise _refused()
    return user, password


def _refused() -> Unauthenticated:
    """One text for all cases: it does not tell which accounts exist."""
    return Unauthenticated("credentials are missing or wrong")
