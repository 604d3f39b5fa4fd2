"""The call that the running handler answers: set by the interceptor, read by servicers."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from server.domain.streams import StreamGrant


@dataclass(slots=True)
class Call:
    """One call. ``method`` is the full name, as ``/pharos.push.v1.UserService/GetUser``.

    ``grant`` is set, with the time left, where the caller has a stream token in place of credentials.
    """

    method: str
    request_id: str
    account: UUID | None = None
    grant: tuple[StreamGrant, timedelta] | None = None


current_call: ContextVar[Call] = ContextVar("current_call")


def current_account() -> UUID:
    """Return the authenticated account. Raises ``LookupError`` outside of a call, or where none is needed."""
    account = current_call.get().account
    if account is None:
        raise LookupError("the call is not authenticated")
    return account


def current_method() -> str:
    """Return the full name of the method: with the account, the namespace of request ids."""
    return current_call.get().method
