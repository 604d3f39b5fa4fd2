"""The secrets of a credential in their canonical form: what is sealed, and what a sender is built from."""

from __future__ import annotations

from typing import Any

import msgspec


class _Hidden(msgspec.Struct, frozen=True, tag_field="kind"):
    """A struct whose values appear in no repr, log or traceback."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class ServiceAccount(_Hidden, frozen=True, tag="service_account"):
    """A Google service account; ``private_key`` is an RSA key in PEM."""

    project_id: str
    client_email: str
    private_key_id: str
    private_key: str


class ApnsKey(_Hidden, frozen=True, tag="apns_key"):
    """Apple's token-based authentication; ``private_key`` is an EC P-256 key in PEM."""

    team_id: str
    key_id: str
    topic: str
    private_key: str


class ApnsCertificate(_Hidden, frozen=True, tag="apns_certificate"):
    """Apple's certificate-based authentication; ``certificate`` is a PEM chain, leaf first."""

    topic: str
    certificate: str
    private_key: str


Secret = ServiceAccount | ApnsKey | ApnsCertificate

_decoder: msgspec.json.Decoder[Secret] = msgspec.json.Decoder(Secret)


def pack(secret: Secret) -> bytes:
    return msgspec.json.encode(secret)


def unpack(packed: bytes) -> Secret:
    """Inverse of `pack`. Raises msgspec.DecodeError when ``packed`` is something else."""
    return _decoder.decode(packed)
