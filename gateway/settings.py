"""What a gateway can be told, with the limits of the REST contract as defaults."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024
DEFAULT_UPLOAD_TIMEOUT = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Sizes are in bytes, times in seconds."""

    public_url: str = ""
    """What stands in front of every URL in an answer; empty for the scheme and host of each request."""
    cors_origins: tuple[str, ...] = ()
    """Pages of these origins may read event streams and ask for stream tokens; `*` is every origin."""
    cors_everywhere: bool = False
    """They may call the whole API."""
    max_body: int = 32 * MIB
    upload_timeout: float = DEFAULT_UPLOAD_TIMEOUT
    call_timeout: float = 30.0
    """For one unary call. An idempotent retry may wait 10 s for the first call, and then still has to be answered."""
    readiness_timeout: float = 2.0
    heartbeat: float = 10.0
    """An event stream that has nothing to say for so long gets a comment."""
    reconnect: float = 2.0
    """An EventSource comes back so long after it lost its stream, give or take a half."""
    write_timeout: float = 60.0
    """An event stream whose client takes nothing for so long is ended."""
