"""Between the domain's values and the contract's messages."""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, Final
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from pharos.push.v1 import credentials_pb2, types_pb2

from server.domain import ids
from server.domain.credentials import CredentialType
from server.domain.errors import Invalid, NotFound, Violation
from server.domain.ids import Kind
from server.domain.pushes import Provider

BASE_PATH: Final = "/v1/PushNotifications"
"""The gateway puts its public base URL in front of the paths below this."""

PROVIDERS: Final = {
    types_pb2.Provider.PROVIDER_FCM: Provider.FCM,
    types_pb2.Provider.PROVIDER_APN: Provider.APN,
}
PROVIDER_NUMBERS: Final = {provider: number for number, provider in PROVIDERS.items()}

CREDENTIAL_TYPES: Final = {
    credentials_pb2.CredentialType.CREDENTIAL_TYPE_FCM: CredentialType.FCM,
    credentials_pb2.CredentialType.CREDENTIAL_TYPE_APN: CredentialType.APN,
    credentials_pb2.CredentialType.CREDENTIAL_TYPE_APN_SANDBOX: CredentialType.APN_SANDBOX,
}
CREDENTIAL_TYPE_NUMBERS: Final = {credential_type: number for number, credential_type in CREDENTIAL_TYPES.items()}


number: Final[Callable[[IntEnum], Any]] = operator.index
"""A domain enum's number, which is also the contract's, as generated code wants it typed."""


def timestamp(value: datetime | None) -> Timestamp | None:
    """Return the time as a message; None stays unset."""
    if value is None:
        return None
    message = Timestamp()
    message.FromDatetime(value)
    return message


def id_in_path(kind: Kind, text: str) -> UUID:
    """Return the UUID of an id that names the resource itself. Raises ``NotFound`` for one that can name none."""
    value = ids.decode(kind, text)
    if value is None:
        raise NotFound("there is no such resource")
    return value


def id_in_field(kind: Kind, text: str, field: str) -> UUID:
    """Return the UUID of an id inside a request. Raises ``Invalid`` for one that can name nothing."""
    value = ids.decode(kind, text)
    if value is None:
        raise Invalid(Violation(field, "names nothing that exists"))
    return value


def moment(value: Timestamp, field: str) -> datetime:
    """Return the time in a field, rounded up to the database's microseconds. Raises ``Invalid``."""
    try:
        return value.ToDatetime(tzinfo=UTC) + timedelta(microseconds=1 if value.nanos % 1000 else 0)
    except (ValueError, OverflowError):
        raise Invalid(Violation(field, "is no time between the years 1 and 9999")) from None
