"""For HTTP clients that never speak TLS."""

from __future__ import annotations

import ssl
from typing import Final

# `verify` of httpx: without it, each client reads all of the system's authorities, which takes tens of milliseconds.
TRUSTS_NOBODY: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
