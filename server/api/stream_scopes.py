"""What a stream is of, as a stream token says it: in 16 bytes, however many push notifications it is of."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import Final, TypeAlias
from uuid import UUID

from pharos.push.v1.delivery_status_pb2 import WatchDeliveryStatusRequest
from pharos.push.v1.stream_tokens_pb2 import CreateStreamTokenRequest

from server.domain import ids
from server.domain.ids import Kind

WHOLE_ACCOUNT: Final = bytes(16)

Scoped: TypeAlias = WatchDeliveryStatusRequest | CreateStreamTokenRequest


def scope_of(request: Scoped) -> bytes | None:
    """Return the scope of a request. None for one with an id that can name nothing."""
    match request.WhichOneof("scope"):
        case "operation_id":
            return _scope("operation", ids.decode(Kind.OPERATION, request.operation_id))
        case "user_id":
            return _scope("user", ids.decode(Kind.USER, request.user_id))
        case "app_name":
            return _digest("app", request.app_name.encode())
        case _:
            named = _notifications(request)
            return _scope("notifications", *sorted(set(named), key=str)) if named else WHOLE_ACCOUNT


def scopes_that_open(request: WatchDeliveryStatusRequest) -> Collection[bytes]:
    """Return each scope whose token opens the stream: its own, the account, and its push notifications' operation."""
    scopes = {WHOLE_ACCOUNT}
    if (own := scope_of(request)) is not None:
        scopes.add(own)
    notifications = [each for each in _notifications(request) if each is not None]
    operations = {ids.split_notification(each)[0] for each in notifications}
    if len(operations) == 1 and own is not None:
        scopes.add(_digest("operation", operations.pop().bytes))
    return scopes


def _notifications(request: Scoped) -> Sequence[UUID | None]:
    match request.WhichOneof("scope"):
        case None:
            texts = list(request.push_notification_ids)
        case "push_notification_id":
            texts = [request.push_notification_id]
        case _:
            texts = []
    return [ids.decode(Kind.NOTIFICATION, text) for text in texts]


def _scope(kind: str, *of: UUID | None) -> bytes | None:
    named = [each.bytes for each in of if each is not None]
    return _digest(kind, *named) if len(named) == len(of) else None


def _digest(kind: str, *of: bytes) -> bytes:
    """128 bits: who has a token can't look for another scope of the same digest."""
    return hashlib.sha256(kind.encode() + b"\0" + b"".join(of)).digest()[: len(WHOLE_ACCOUNT)]
