"""Requests that carry a key, so that a caller can repeat them without a second effect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RequestKey:
    """The caller's key for one request of a method; ``fingerprint`` is the SHA-256 of the request without the key."""

    method: str
    key: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """What a request came to; ``replayed`` when an earlier one with the same key had the effect."""

    value: T
    replayed: bool = False
