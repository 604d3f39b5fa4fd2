"""Recipients as people write them: `user:ID`, `fcm:TOKEN`, `apn:TOKEN`, or a JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pharos.push.v1.types_pb2 import Provider, Recipient

_PROVIDERS = {"fcm": Provider.PROVIDER_FCM, "apn": Provider.PROVIDER_APN}


class RecipientError(ValueError):
    """What stands there is no recipient."""


def parse_recipient(text: str) -> Recipient:
    """`user:ID`, `fcm:TOKEN` or `apn:TOKEN`. Raises RecipientError."""
    kind, _, address = text.partition(":")
    if address and kind == "user":
        return Recipient(user_id=address)
    if address and kind in _PROVIDERS:
        return Recipient(token=address, provider=_PROVIDERS[kind])
    raise RecipientError(f"{text!r} is none of user:ID, fcm:TOKEN, apn:TOKEN")


def read_recipients(path: Path) -> Iterator[Recipient]:
    """One JSON object a line, as in the REST API's `to`.

    `{"userId": ..., "variables": {...}}` or `{"provider": "FCM", "token": ..., "variables": {...}}`, the variables
    optional. Empty lines are skipped. Raises RecipientError with the line's number, and OSError.
    """
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _parse_line(line, f"{path}:{number}")


def _parse_line(line: str, place: str) -> Recipient:
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise RecipientError(f"{place}: {error}") from None
    if not isinstance(fields, dict):
        raise RecipientError(f"{place}: not a JSON object")
    variables = fields.pop("variables", {})
    if not isinstance(variables, dict):
        raise RecipientError(f"{place}: variables is not a JSON object")
    recipient = _target(fields, place)
    if variables:
        recipient.variables_json = json.dumps(variables, ensure_ascii=False).encode()
    return recipient


def _target(fields: dict[str, Any], place: str) -> Recipient:
    match sorted(fields.items()):
        case [("userId", str(user_id))] if user_id:
            return Recipient(user_id=user_id)
        case [("provider", "FCM" | "APN" as provider), ("token", str(token))] if token:
            return Recipient(token=token, provider=_PROVIDERS[provider.lower()])
    raise RecipientError(f"{place}: give userId, or provider (FCM or APN) and token, and maybe variables")
