"""Keys of a push's data that are not the caller's."""

from __future__ import annotations

from typing import Final

PUSH_ID: Final = "pharosPushId"
RESERVED: Final = "is a key that providers or Pharos keep for themselves"
_KEYS: Final = ("from", "message_type", "aps", PUSH_ID)
_PREFIXES: Final = ("google.", "gcm.")


def is_reserved(key: str) -> bool:
    return key in _KEYS or key.startswith(_PREFIXES)
