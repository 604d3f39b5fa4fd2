"""Who may call: an account with its token, or one of its API keys with its secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Identity:
    """What is kept of an account's token or an API key's secret."""

    account_id: UUID
    secret_hash: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class IssuedSecret:
    """A new account (its id and token) or API key (its id and secret). Shown once, kept only as a hash."""

    id: UUID
    secret: str = field(repr=False)


def secret_hash(secret: str) -> bytes:
    """Return the hash that is kept. Secrets are 256 random bits, so that one round of SHA-256 is enough."""
    return sha256(secret.encode()).digest()
