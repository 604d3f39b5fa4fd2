"""Where the providers are. The defaults are the vendors' own; a sandbox or a proxy replaces them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Origins without a trailing slash; ``oauth_url`` is a whole URL and also the audience of the grants sent to it.

    ``ca_file`` (PEM) replaces the built-in trust. ``request_timeout`` is in seconds, for one provider call with
    everything it waits for. ``fcm_quota`` is what Firebase grants a project, in pushes a second
    (https://firebase.google.com/docs/cloud-messaging/scale-fcm: 600,000 a minute unless more was agreed).
    """

    fcm_url: str = "https://fcm.googleapis.com"
    oauth_url: str = "https://oauth2.googleapis.com/token"
    apns_url: str = "https://api.push.apple.com"
    apns_sandbox_url: str = "https://api.sandbox.push.apple.com"
    ca_file: Path | None = None
    request_timeout: float = 30.0
    fcm_quota: float = 10_000.0
