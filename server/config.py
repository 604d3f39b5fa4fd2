"""Settings of the server's processes, from the environment and the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from server.providers.endpoints import Endpoints
from server.webhooks.addresses import Network, networks

TRANSPORTS = ("http2", "httpx")
DEFAULT_DATA_DIR = Path("data")


class BadSetting(ValueError):
    """A setting that can't be used; the text names it."""


@dataclass(frozen=True, slots=True)
class Config:
    """``database_url`` None: the embedded server in ``data_dir``. ``lease`` is how long a dead worker's jobs wait.

    ``removal_share``: how much of an operation may die of one error before its devices are rather kept.
    ``transport`` is what sends to the providers, ``response_table`` the size of its table for response headers.
    ``webhook_networks``: where webhooks may be besides the public internet; ``webhook_ca``: whom they are trusted by.
    """

    data_dir: Path
    database_url: str | None
    endpoints: Endpoints
    environment: Mapping[str, str]
    lease: timedelta = timedelta(seconds=30)
    grace: timedelta = timedelta(seconds=20)
    retention: timedelta = timedelta(days=7)
    removal_share: float = 0.5
    transport: str = TRANSPORTS[0]
    response_table: int = 0
    webhook_networks: tuple[Network, ...] = ()
    webhook_ca: Path | None = None

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
            removal_share=_number(environment, "PHAROS_REMOVAL_SHARE", 0.5, most=1.0),
            transport=_choice(environment, "PHAROS_TRANSPORT", TRANSPORTS),
            response_table=int(_choice(environment, "PHAROS_HTTP2_RESPONSE_TABLE", ("0", "4096"))),
            webhook_networks=_networks(environment, "PHAROS_WEBHOOK_NETWORKS"),
            webhook_ca=_path(environment, "PHAROS_WEBHOOK_CA"),
        )


def _endpoints(environment: Mapping[str, str]) -> Endpoints:
    given = {
        "fcm_url": environment.get("PHAROS_FCM_URL"),
        "oauth_url": environment.get("PHAROS_OAUTH_URL"),
        "apns_url": environment.get("PHAROS_APNS_URL"),
        "apns_sandbox_url": environment.get("PHAROS_APNS_SANDBOX_URL"),
    }
    urls = {name: url for name, url in given.items() if url}
    timeout = _seconds(environment, "PHAROS_PROVIDER_TIMEOUT_SECONDS", 15.0)
    quota = _number(environment, "PHAROS_FCM_QUOTA_PER_MINUTE", 600_000.0, most=1e9) / 60
    return Endpoints(
        **urls,
        ca_file=_path(environment, "PHAROS_PROVIDER_CA"),
        request_timeout=timeout.total_seconds(),
        fcm_quota=quota,
    )


def _networks(environment: Mapping[str, str], name: str) -> tuple[Network, ...]:
    """Networks as ``10.0.0.0/8``, with commas between them."""
    text = environment.get(name, "")
    try:
        return networks([part.strip() for part in text.split(",") if part.strip()])
    except ValueError:
        raise BadSetting(f"{name} must be networks as 10.0.0.0/8,fd00::/8, not {text!r}") from None


def _path(environment: Mapping[str, str], name: str) -> Path | None:
    text = environment.get(name)
    return Path(text) if text else None


def _choice(environment: Mapping[str, str], name: str, choices: Sequence[str]) -> str:
    """The first of the choices unless another is set."""
    chosen = environment.get(name) or choices[0]
    if chosen not in choices:
        raise BadSetting(f"{name} must be {' or '.join(choices)}, not {chosen!r}")
    return chosen


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
