"""Device tokens as keys: up to 4,096 characters don't fit an index, their SHA-256 does."""

from __future__ import annotations

from hashlib import sha256


def token_hash(token: str) -> bytes:
    """Return the 32 bytes under which the token stands in ``devices.token_hash``."""
    return sha256(token.encode()).digest()
