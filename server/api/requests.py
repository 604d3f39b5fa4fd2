"""Request ids: what makes a repeated request recognisable."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from server.api.calls import current_method
from server.api.canonical import canonical
from server.domain.requests import Done, RequestKey

T = TypeVar("T")


def request_key(request: Message) -> RequestKey | None:
    """Return the key of a request whose ``request_id`` is set; None where it is empty."""
    key: str = request.request_id  # type: ignore[attr-defined]  # every caller's message has the field
    if not key:
        return None
    form = canonical(request).SerializeToString(deterministic=True)
    return RequestKey(current_method(), key, sha256(form).digest())


def result_of(done: Done[T], context: grpc.aio.ServicerContext[Any, Any]) -> T:
    """Return the value, and tell the caller in the trailers where it is an earlier request's."""
    if done.replayed:
        context.set_trailing_metadata((("idempotent-replayed", "true"),))
    return done.value
