"""Settings of the server's processes, from the environment and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from server.providers.endpoints import Endpoints

DEFAULT_DATA_DIR = Path("data")

_LARGEST_TABLE = 65536


class BadSetting(ValueError):
    """A setting that can't be used; the text names it."""


class TransportKind(StrEnum):
    """What carries pushes to the providers: our own HTTP/2 connections, or httpx."""

    HTTP2 = "http2"
    HTTPX = "httpx"


@dataclass(frozen=True, slots=True)
class Config:
    """``database_url`` None: the embedded server in ``data_dir``. ``lease`` is how long a dead worker's jobs wait.

    ``response_table`` is the size of the HPACK table that providers may use for their responses' headers, in bytes.
    """

    data_dir: Path
    database_url: str | None
    endpoints: Endpoints
    environment: Mapping[str, str]
    lease: timedelta = timedelta(seconds=30)
    grace: timedelta = timedelta(seconds=20)
    retention: timedelta = timedelta(days=7)
    transport: TransportKind = TransportKind.HTTP2
    response_table: int = 0

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Config:
        """Read the variables that docs/operations.md lists. Raises ``BadSetting``."""
        return cls(
            data_dir=Path(environment.get("PHAROS_DATA_DIR") or DEFAULT_DATA_DIR),
            database_url=environment.get("DATABASE_URL") or None,
            endpoints=_endpoints(environment),
            environment=environment,
            lease=_seconds(environment, "PHAROS_LEASE_SECONDS", 30.0),
            grace=_seconds(environment, "PHAROS_GRACE_SECONDS", 20.0),
            retention=_days(environment, "PHAROS_RETENTION_DAYS", 7.0),
            transport=_transport(environment),
            response_table=_table_size(environment, "PHAROS_HTTP2_RESPONSE_TABLE"),
        )


def _endpoints(environment: Mapping[str, str]) -> Endpoints:
    given = {
        "fcm_url": environment.get("PHAROS_FCM_URL"),
        "oauth_url": environment.get("PHAROS_OAUTH_URL"),
        "apns_url": environment.get("PHAROS_APNS_URL"),
        "apns_sandbox_url": environment.get("PHAROS_APNS_SANDBOX_URL"),
    }
    urls = {name: url for name, url in given.items() if url}
    ca_file = environment.get("PHAROS_PROVIDER_CA")
    timeout = _seconds(environment, "PHAROS_PROVIDER_TIMEOUT_SECONDS", 15.0)
    return Endpoints(**urls, ca_file=Path(ca_file) if ca_file else None, request_timeout=timeout.total_seconds())


def _transport(environment: Mapping[str, str]) -> TransportKind:
    text = environment.get("PHAROS_TRANSPORT") or TransportKind.HTTP2
    try:
        return TransportKind(text)
    except ValueError:
        raise BadSetting(f"PHAROS_TRANSPORT must be {' or '.join(TransportKind)}, not {text!r}") from None


def _table_size(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name) or "0"
    if not text.isascii() or not text.isdecimal() or int(text) > _LARGEST_TABLE:
        raise BadSetting(f"{name} must be a whole number from 0 to {_LARGEST_TABLE}, not {text!r}")
    return int(text)


def _seconds(environment: Mapping[str, str], name: str, default: float) -> timedelta:
    return timedelta(seconds=_number(environment, name, default, most=86400.0))


def _days(environment: Mapping[str, str], name: str, default: float) -> timedelta:
    return timedelta(days=_number(environment, name, default, most=3650.0))


def _number(environment: Mapping[str, str], name: str, default: float, most: float) -> float:
    text = environment.get(name)
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= most:
        raise BadSetting(f"{name} must be a number above 0 and up to {most:g}, not {text!r}")
    return number
