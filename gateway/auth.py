"""Which `Authorization` headers are worth a call: HTTP Basic. Whether it is right the service decides."""

from __future__ import annotations

import base64
import binascii
from http import HTTPStatus
from typing import Final

from gateway.errors import ApiError

_LONGEST: Final = 4096  # what is longer does not fit into gRPC's metadata, and nobody has it


def basic_authorization(header: str | None) -> str:
    """The header as gRPC metadata has it, `Basic` and base64 of `user:password` (RFC 7617).

    Raises ApiError 401 when it is missing or is not that.
    """
    scheme, _, credentials = (header or "").partition(" ")
    credentials = credentials.strip()
    if scheme.lower() != "basic" or len(credentials) > _LONGEST or not _is_pair(credentials):
        raise ApiError(HTTPStatus.UNAUTHORIZED)
    return f"Basic {credentials}"


def _is_pair(credentials: str) -> bool:
    try:
        return b":" in base64.b64decode(credentials, validate=True)
    except (binascii.Error, ValueError):
        return False
