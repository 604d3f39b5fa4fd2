"""How the service under attack is set up: what would take minutes takes seconds."""

from __future__ import annotations

from typing import Final

SETTINGS: Final = {
    "PHAROS_LEASE_SECONDS": "3",  # how long a killed worker's jobs wait
    "PHAROS_PROVIDER_TIMEOUT_SECONDS": "8",  # above what a push waits for a free stream on a busy machine
    "PHAROS_LOG_LEVEL": "WARNING",
}
