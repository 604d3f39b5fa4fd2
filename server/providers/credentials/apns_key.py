"""APNs content for token-based authentication: a .p8 key with its id, its team and the app's topic."""

from __future__ import annotations

import re

from server.domain.credentials import CredentialContent
from server.providers.credentials import pem
from server.providers.credentials.problems import Problems
from server.providers.credentials.secret import ApnsKey
from server.providers.credentials.topic import is_topic

_IDENTIFIER = re.compile(r"[A-Z0-9]{10}")


def parse(content: CredentialContent, problems: Problems) -> ApnsKey:
    """``content.private_key`` is base64 of the .p8 file. The result is only good when no problem was added."""
    return ApnsKey(
        team_id=_identifier("content.teamId", content.team_id, problems),
        key_id=_identifier("content.keyId", content.key_id, problems),
        topic=_topic(content.topic, problems),
        private_key=_p256_key(content.private_key, problems),
    )


def _identifier(field: str, value: str | None, problems: Problems) -> str:
    if not value:
        problems.add(field, "is required with a .p8 key")
    elif not _IDENTIFIER.fullmatch(value):
        problems.add(field, "must be 10 upper-case letters and digits")
    return value or ""


def _topic(value: str | None, problems: Problems) -> str:
    if not value:
        problems.add("content.topic", "is required with a .p8 key: the app's bundle id")
    elif not is_topic(value):
        problems.add("content.topic", "must be a bundle id: letters, digits, dots and hyphens")
    return value or ""


def _p256_key(encoded: str | None, problems: Problems) -> str:
    field = "content.privateKey"
    text = problems.file(field, encoded)
    key = None if text is None else pem.private_key(field, text, problems)
    if key is None:
        return ""
    if not pem.is_p256(key):
        problems.add(field, "is not the key of a .p8 file: an EC key on the curve P-256 is needed")
    return pem.canonical(key)
