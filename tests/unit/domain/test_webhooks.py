"""When a delivery is tried again, when its webhook rests, and which events a feed's entry is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from server.domain.feed import FeedEvent, FeedNotice, RecipientChange
from server.domain.notices import DevicesRemoved, RemovalsStopped
from server.domain.operations import Counts, Operation, OperationStatus, Status
from server.domain.reasons import Reason
from server.domain.webhooks import (
    NOT_KEPT,
    WAITS,
    Answer,
    DeliveryStatus,
    EventType,
    Pending,
    event_id,
    rest,
    settle,
    types_of,
)

_AT = datetime(2026, 11, 25, tzinfo=UTC)
_ID = UUID(int=1)


def _pending(attempts: int) -> Pending:
    return Pending(_ID, _ID, 1, EventType.OPERATION_COMPLETED, None, attempts, _AT)


def test_waits_grow_over_hours_with_full_jitter_and_then_end() -> None:
    for attempts, ceiling in enumerate(WAITS):
        waits = [settle(_pending(attempts), Answer(500)).wait for _ in range(200)]
        assert all(wait is not None and timedelta() <= wait <= ceiling for wait in waits)
        assert min(wait for wait in waits if wait) < ceiling / 4
        assert max(wait for wait in waits if wait) > ceiling * 3 / 4
    last = settle(_pending(len(WAITS)), Answer(500))
    assert (last.status, last.wait) == (DeliveryStatus.FAILED, None)
    assert timedelta(hours=6) < sum(WAITS, timedelta()) / 2 < timedelta(hours=12)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_a_2xx_is_delivered(status: int) -> None:
    assert settle(_pending(0), Answer(status)).status is DeliveryStatus.DELIVERED


@pytest.mark.parametrize("answer", [Answer(199), Answer(300), Answer(302), Answer(404), Answer(500), Answer(error="X")])
def test_everything_else_is_tried_again(answer: Answer) -> None:
    assert settle(_pending(0), answer).status is DeliveryStatus.PENDING


def test_nothing_is_tried_before_retry_after_of_which_an_hour_is_believed() -> None:
    wait = settle(_pending(0), Answer(429, retry_after=120)).wait
    assert wait == timedelta(seconds=120)
    assert settle(_pending(0), Answer(503, retry_after=1e9)).wait == timedelta(hours=1)
    assert rest(1, [Answer(429, retry_after=120)]) == timedelta(seconds=120)
    assert rest(0, [Answer(202, retry_after=120)]) is None  # a 2xx asks for nothing


def test_what_is_no_longer_kept_is_told_at_once_in_another_event() -> None:
    told = settle(_pending(len(WAITS)), NOT_KEPT)
    assert (told.status, told.wait) == (DeliveryStatus.PENDING, timedelta())


def test_a_webhook_rests_after_failures_in_a_row_for_some_minutes_at_most() -> None:
    assert rest(0, [Answer(200)]) is None
    assert rest(2, [Answer(500)]) is None
    rests = [rest(100, [Answer(500)]) for _ in range(200)]
    assert all(each is not None and each <= timedelta(minutes=5) for each in rests)
    assert max(each for each in rests if each) > timedelta(minutes=4)


def _event(status: OperationStatus, *indexes: int) -> FeedEvent:
    operation = Operation(_ID, status, Counts(1, 0, 1, 0, 0), _AT, _AT)
    changes = [RecipientChange(_ID, index, Status.SENT, Reason.NONE, _AT, 1) for index in indexes]
    return FeedEvent(1, _AT, operation, "shop", changes)


def test_an_entry_is_the_events_that_happened_in_it() -> None:
    assert types_of(_event(OperationStatus.SCHEDULED)) == []
    assert types_of(_event(OperationStatus.PROCESSING, 0)) == [EventType.RECIPIENTS_CHANGED]
    assert types_of(_event(OperationStatus.COMPLETED)) == [EventType.OPERATION_COMPLETED]
    assert types_of(_event(OperationStatus.CANCELED, 0)) == [
        EventType.RECIPIENTS_CHANGED,
        EventType.OPERATION_COMPLETED,
    ]
    assert types_of(FeedNotice(1, _AT, RemovalsStopped(_ID, _ID, "X", 3))) == [EventType.REMOVALS_STOPPED]
    assert types_of(FeedNotice(1, _AT, DevicesRemoved(_ID, "shop", []))) == [EventType.DEVICES_REMOVED]


def test_ids_of_events_tell_them_apart_and_have_no_full_stop() -> None:
    made = {event_id(UUID(int=epoch), seq, kind) for epoch in (1, 2) for seq in (1, 12) for kind in EventType}
    assert len(made) == 2 * 2 * len(EventType)
    assert not any("." in each for each in made)
