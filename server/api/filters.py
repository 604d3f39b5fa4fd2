"""What lists are cut down to, read from requests."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from pharos.push.v1 import operations_pb2
from pharos.push.v1 import push_notifications_pb2 as pb

from server.api.convert import PROVIDERS, moment
from server.api.problems import Problems
from server.domain import ids
from server.domain.errors import Invalid, Violation
from server.domain.ids import Kind
from server.domain.notifications import NotificationFilter
from server.domain.operations import OperationFilter, OperationStatus, Status
from server.domain.periods import ALWAYS, Period

_MOST_TAGS: Final = 10  # a send can't have more
_TAG: Final = re.compile(r"([a-zA-Z0-9._~-]{1,128}):([a-zA-Z0-9._~-]{1,256})")

_NOBODYS: Final = UUID(int=0)


class Dated(Protocol):
    """A list request that can be cut down to a period."""

    @property
    def start_date(self) -> Timestamp: ...
    @property
    def end_date(self) -> Timestamp: ...


def notification_filter(request: pb.ListPushNotificationsRequest) -> NotificationFilter:
    """Return what the request asks for. Raises ``Invalid``. An unknown id is no error: it matches nothing."""
    problems = Problems()
    wanted = NotificationFilter(
        operation=_id(Kind.OPERATION, request.operation_id),
        status=Status(request.status) if request.status else None,
        user=_id(Kind.USER, request.user),
        provider=PROVIDERS[request.provider] if request.provider else None,
        tags=problems.collect(lambda: tags(request.tags)) or {},
        accepted=problems.collect(lambda: period(request)) or ALWAYS,
    )
    problems.raise_any()
    return wanted


def operation_filter(request: operations_pb2.ListOperationsRequest) -> OperationFilter:
    """Return what the request asks for. Raises ``Invalid``."""
    return OperationFilter(OperationStatus(request.status) if request.status else None, period(request))


def tags(text: str) -> dict[str, str]:
    """Return the pairs of ``key:value;key:value``, which may end in a semicolon. Raises ``Invalid``."""
    if not text:
        return {}
    pairs = [_TAG.fullmatch(part) for part in text.removesuffix(";").split(";")]
    found = {pair[1]: pair[2] for pair in pairs if pair}
    if None in pairs:
        raise Invalid(Violation("tags", "must be pairs as key:value;key:value of letters, digits and . _ ~ -"))
    if len(found) < len(pairs):
        raise Invalid(Violation("tags", "names a key twice"))
    if len(found) > _MOST_TAGS:
        raise Invalid(Violation("tags", f"has more than {_MOST_TAGS} pairs"))
    return found


def period(request: Dated) -> Period:
    """Return the time between ``start_date`` (inclusive) and ``end_date`` (exclusive). Raises ``Invalid``."""
    problems = Problems()
    start = problems.collect(lambda: _time(request, "start_date"))
    end = problems.collect(lambda: _time(request, "end_date"))
    problems.raise_any()
    if start and end and start >= end:
        raise Invalid(Violation("end_date", "must be later than the start"))
    return Period(start, end)


def _id(kind: Kind, text: str) -> UUID | None:
    """None for any. A well-formed id that can't be one of ours matches nothing, like one that names nothing."""
    return (ids.decode(kind, text) or _NOBODYS) if text else None


def _time(request: Dated, field: str) -> datetime | None:
    assert isinstance(request, Message)
    return moment(getattr(request, field), field) if request.HasField(field) else None
