"""Apps, and the credentials under them as callers see them: without their content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final
from uuid import UUID

from server.domain.credentials import CredentialType
from server.domain.health import Health
from server.domain.periods import Period

DEFAULT_APP: Final = "default"
"""Name of the app that is made for a credential that names none when there is none."""

MAX_APPS: Final = 10
"""Apps of an account."""

MAX_CREDENTIALS: Final = 10
"""Credentials of an app."""


@dataclass(frozen=True, slots=True)
class DefaultCredential:
    """The credential that sends of an app use for a type where they name none."""

    credential_type: CredentialType
    credential_id: UUID


@dataclass(frozen=True, slots=True)
class App:
    """A namespace for credentials and registrations."""

    app_id: UUID
    name: str
    is_default: bool
    default_credentials: Sequence[DefaultCredential]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class AppFilter:
    """Which apps to list; None means whichever."""

    is_default: bool | None
    made: Period


@dataclass(frozen=True, slots=True)
class AppDay:
    """How many recipients of an app became final on a day (UTC), and how."""

    day: date
    sent: int
    failed: int
    canceled: int
    unaddressable: int


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential without its content."""

    credential_id: UUID
    credential_type: CredentialType
    is_default: bool
    app_name: str
    created_at: datetime
    updated_at: datetime
    health: Health


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A credential to store. No app means the default one; ``not_after`` is the end of its certificate's validity."""

    credential_id: UUID
    credential_type: CredentialType
    sealed: bytes = field(repr=False)
    not_after: datetime | None = None
    app_name: str | None = None
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class CredentialFilter:
    """Which credentials to list; None means whichever."""

    app_name: str | None
    credential_type: CredentialType | None
    is_default: bool | None
    made: Period


@dataclass(frozen=True, slots=True)
class NewContent:
    """What replaces a credential's content; ``not_after`` is the end of its certificate's validity."""

    sealed: bytes = field(repr=False)
    not_after: datetime | None


@dataclass(frozen=True, slots=True)
class CredentialChange:
    """What to change of a credential; None stays as it is."""

    is_default: bool | None
    content: NewContent | None
