"""Providers' error codes, made fit to be stored and logged."""

from __future__ import annotations

import re

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


def safe(code: str, status: int) -> str:
    """``code`` when it looks like one, else ``HTTP_<status>``: a peer's free text never gets further than here."""
    return code if _CODE.fullmatch(code) else f"HTTP_{status}"
