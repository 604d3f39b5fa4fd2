"""The check of a credential at upload: which content goes with which type, and whether it can be used."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from server.domain.credentials import CredentialContent, CredentialType
from server.providers.credentials import apns_certificate, apns_key, service_account
from server.providers.credentials.problems import Problems
from server.providers.credentials.secret import Secret, pack

_NAMES = {
    "certificate": "content.certificate",
    "key_id": "content.keyId",
    "team_id": "content.teamId",
    "topic": "content.topic",
}
_KEY_FIELDS = ("key_id", "team_id", "topic")


@dataclass(frozen=True, slots=True)
class ParsedCredential:
    """A usable credential: ``secret`` is what to seal, ``not_after`` (UTC) the end of its certificate, if any."""

    secret: bytes = field(repr=False)
    not_after: datetime | None = None


def parse_credential(
    credential_type: CredentialType, content: CredentialContent, now: datetime | None = None
) -> ParsedCredential:
    """Check ``content`` as uploaded for ``credential_type``. Raises InvalidCredentialContent with every problem."""
    problems = Problems()
    not_after: datetime | None = None
    secret: Secret | None
    if credential_type is CredentialType.FCM:
        _refuse(content, tuple(_NAMES), "is not used by an FCM credential", problems)
        secret = service_account.parse(content, problems)
    elif content.certificate is None and any(getattr(content, name) for name in _KEY_FIELDS):
        secret = apns_key.parse(content, problems)
    else:
        _refuse(content, _KEY_FIELDS, "is not used together with a certificate", problems)
        parsed = apns_certificate.parse(content, problems, now or datetime.now(UTC))
        secret, not_after = parsed or (None, None)
    if secret is None or problems:
        raise problems.invalid()
    return ParsedCredential(pack(secret), not_after)


def _refuse(content: CredentialContent, names: tuple[str, ...], message: str, problems: Problems) -> None:
    for name in names:
        if getattr(content, name) is not None:
            problems.add(_NAMES[name], message)
