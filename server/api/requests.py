"""Request ids: what makes a repeated request recognisable."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from server.api.calls import current_method
from server.domain.requests import Done, RequestKey

T = TypeVar("T")


def request_key(request: Message) -> RequestKey | None:
    """Return the key of a request whose ``request_id`` is set; None where it is empty.

    Field order and spelled-out defaults make no difference to the fingerprint: protobuf does not keep them.
    """
    key: str = request.request_id  # type: ignore[attr-defined]  # every caller's message has the field
    if not key:
        return None
    bare = type(request)()
    bare.CopyFrom(request)
    bare.ClearField("request_id")
    return RequestKey(current_method(), key, sha256(bare.SerializeToString(deterministic=True)).digest())


def result_of(done: Done[T], context: grpc.aio.ServicerContext[Any, Any]) -> T:
    """Return the value, and tell the caller in the trailers where it is an earlier request's."""
    if done.replayed:
        context.set_trailing_metadata((("idempotent-replayed", "true"),))
    return done.value
