"""One push: what is sent to one device, after expansion and rendering."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

_ID_BITS = ~(0xF << 76 | 0b11 << 62)  # all but the version and the variant
_ID_FORM = 5 << 76 | 0b10 << 62


class Provider(StrEnum):
    """The push service that a device token belongs to, as the contract names it."""

    FCM = "FCM"
    APN = "APN"


class Priority(StrEnum):
    HIGH = "HIGH"
    LOW = "LOW"


class InterruptionLevel(StrEnum):
    """Apple's levels, as ``aps.interruption-level`` spells them."""

    PASSIVE = "passive"
    ACTIVE = "active"
    TIME_SENSITIVE = "time-sensitive"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Content:
    """What the device shows, already rendered for its recipient. Absent texts are None, not empty."""

    title: str | None = None
    body: str | None = None
    subtitle: str | None = None
    image: str | None = None
    click_action: str | None = None
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Presentation:
    """How the device shows it: the same for every recipient of a send."""

    priority: Priority = Priority.HIGH
    sound: str | None = None
    badge: int | None = None
    category: str | None = None
    thread_id: str | None = None
    collapse_key: str | None = None
    icon: str | None = None
    color: str | None = None
    channel_id: str | None = None
    interruption_level: InterruptionLevel | None = None
    relevance_score: float | None = None
    mutable_content: bool = False
    content_available: bool = False


@dataclass(frozen=True, slots=True)
class Push:
    """``push_id`` is the same for every attempt at this device: what a duplicate is recognised by.

    ``expires_at`` (UTC) is when the provider may stop trying to deliver; None leaves the provider's default. ``at`` is
    the time of this attempt by the clock that ``expires_at`` is of; None means this machine's. ``overrides`` is merged
    into the provider's message last.
    """

    push_id: UUID
    token: str
    content: Content
    presentation: Presentation
    expires_at: datetime | None = None
    at: datetime | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measured:
    """A push as its provider would get it. ``size`` and ``limit`` are in bytes, as the provider counts them."""

    size: int
    limit: int
    body: bytes

    @property
    def fits(self) -> bool:
        return self.size <= self.limit


def push_id(operation: UUID, index: int, provider: Provider, token: str) -> UUID:
    """Return the id of every push of an operation's recipient ``index`` to this device: the same in each attempt.

    It is the notification's UUID with the device as its name (RFC 9562, version 5), put together here because
    ``uuid.uuid5`` takes twice as long.
    """
    named = (operation.int | index).to_bytes(16, "big") + f"{provider}:{token}".encode()
    digest = hashlib.sha1(named, usedforsecurity=False).digest()
    return UUID(int=int.from_bytes(digest[:16], "big") & _ID_BITS | _ID_FORM)
