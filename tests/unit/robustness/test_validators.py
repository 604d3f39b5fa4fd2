"""Each promise's validator finds the histories that break it, and none of them objects to a good one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.robustness.history import (
    Bystander,
    Call,
    Counts,
    End,
    Event,
    History,
    Loss,
    Operation,
    Row,
    Told,
    Who,
)
from tests.robustness.validators import VALIDATORS, broken

ACCOUNT, SEND, OTHER = UUID(int=1), UUID(int=2 << 14), UUID(int=3 << 14)
START = datetime(2026, 1, 1, tzinfo=UTC)
USER = "user-1"


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def call(token: str, seconds: float, status: int | None = 200, **more: Any) -> Call:
    """The push id of each device is made of its token."""
    fields: dict[str, Any] = {"push_id": f"id-{token}", "taken": status == 200, **more}
    return Call(at(seconds), "FCM", token, status=status, **fields)


def event(seq: int, seconds: float, counts: Counts, *changes: tuple[int, str], status: str = "PROCESSING") -> Event:
    return Event(ACCOUNT, seq, at(seconds), SEND, status, counts, changes)


def good() -> History:
    """A send to three devices and a user with two more.

    `a` is taken, `dead` refused for good, `b` throttled first, and then taken twice: a worker died in between. The
    user's phone is taken, its old tablet is dead.
    """
    addresses = {0: "a", 1: "dead", 2: "b", 3: USER}
    rows = (
        Row(Who(SEND, 0), "SENT", "NONE", {"a": 1}),
        Row(Who(SEND, 1), "FAILED", "UNREGISTERED", {"dead": 1}),
        Row(Who(SEND, 2), "SENT", "NONE", {"b": 2}),
        Row(Who(SEND, 3), "SENT", "NONE", {"phone": 1, "tablet": 1}),
    )
    counts = Counts(sent=3, failed=1)
    send = Operation(SEND, ACCOUNT, "COMPLETED", 4, counts, at(0), at(0), at(600), at(30), addresses)
    return History(
        told=(Told("key", ["a", "dead", "b", USER], SEND), Told("key", ["a", "dead", "b", USER], SEND)),
        operations={SEND: send},
        rows=rows,
        events=(
            event(7, 0, Counts()),
            event(8, 2, Counts(sent=1, failed=1), (0, "SENT"), (1, "FAILED")),
            event(9, 30, counts, (2, "SENT"), (3, "SENT"), status="COMPLETED"),
        ),
        daily={ACCOUNT: counts},
        calls=(
            call("a", 1),
            call("dead", 1, 404),
            call("b", 1, 429, retry_after=5.0),
            call("b", 7),
            call("b", 20),
            call("phone", 8),
            call("tablet", 8, 410),
        ),
        losses=(Loss(at(10), at(12), {Who(SEND, 2), Who(SEND, 3)}, {"phone", "tablet"}, at_most=1),),
        devices={USER: {"phone", "tablet"}},
        registered={"phone"},
        registrations={"phone": [at(-9)], "tablet": [at(-9)]},
    )


def operation(history: History, **changes: Any) -> History:
    return replace(history, operations={SEND: replace(history.operations[SEND], **changes)})


def calls(history: History, *more: Call) -> History:
    return replace(history, calls=(*history.calls, *more))


def row(history: History, index: int, *instead: Row) -> History:
    return replace(history, rows=(*history.rows[:index], *instead, *history.rows[index + 1 :]))


def events(history: History, *more: Event) -> History:
    return replace(history, events=(*history.events, *more))


def told(history: History, *more: Told) -> History:
    return replace(history, told=(*history.told, *more))


def with_another(history: History, **changes: Any) -> History:
    """A healthy send, accepted later and ended earlier."""
    other = Operation(OTHER, ACCOUNT, "COMPLETED", 1, Counts(sent=1), at(1), at(1), at(600), at(3), {0: "c"})
    began, ended = Event(ACCOUNT, 10, at(1), OTHER, "PROCESSING", Counts()), Counts(sent=1)
    told_of = Event(ACCOUNT, 11, at(3), OTHER, "COMPLETED", ended, ((0, "SENT"),))
    return replace(
        history,
        operations={**history.operations, OTHER: replace(other, **changes)},
        rows=(*history.rows, Row(Who(OTHER, 0), "SENT", "NONE", {"c": 1})),
        events=(*history.events, began, told_of),
        calls=(*history.calls, call("c", 2)),
        daily={ACCOUNT: Counts(sent=4, failed=1)},
        bystanders=(Bystander(OTHER, [SEND]),),
    )


def test_a_good_history_breaks_nothing() -> None:
    assert broken(good()) == {}
    assert broken(with_another(good())) == {}


def test_a_notice_between_events_breaks_nothing() -> None:
    history = good()
    later = (*history.events[:2], replace(history.events[2], seq=10))
    assert broken(replace(history, events=later, notices=[(ACCOUNT, 9)])) == {}


def test_a_removal_that_a_killed_worker_forgot_breaks_nothing() -> None:
    assert broken(replace(good(), registered={"phone", "tablet"})) == {}


def test_a_cancel_and_a_deletion_break_nothing() -> None:
    ended = (End(at(9), {Who(SEND, 2)}, operation=SEND), End(at(8.5), set(), tokens={"phone", "tablet"}))
    assert broken(replace(good(), ends=ended, registered=set())) == {}


FORGED: Sequence[tuple[str, str, Callable[[History], History]]] = [
    ("I1", "is gone", lambda h: told(h, Told("lost", ["x"], OTHER))),
    ("I1", "without an end", lambda h: row(h, 2)),
    ("I1", "without an end", lambda h: row(h, 2, h.rows[2], h.rows[2])),
    ("I1", "PROCESSING, and jobs are left", lambda h: operation(h, status="PROCESSING")),
    ("I1", "jobs are left: True", lambda h: replace(h, jobs=[SEND])),
    ("I1", "no provider has it", lambda h: replace(h, calls=h.calls[1:])),
    ("I2", "2 operations", lambda h: told(with_another(h), Told("key", ["c"], OTHER))),
    ("I2", "several operations", lambda h: with_another(h, addresses={0: "a"})),
    ("I3", "batches without", lambda h: replace(h, orphans=["batches without an operation: 1"])),
    ("I3", "has 3 of 4", lambda h: operation(h, addresses={0: "a", 1: "dead", 2: "b"})),
    ("I3", "does not begin", lambda h: replace(h, events=h.events[1:])),
    ("I3", "was refused", lambda h: told(h, Told("refused", ["b"], None, refused=True))),
    ("I3", "other recipients", lambda h: operation(h, addresses={0: "dead", 1: "a", 2: "b", 3: USER})),
    ("I4", "moved to ['SENT', 'QUEUED']", lambda h: events(h, event(10, 31, Counts(3, 1), (0, "QUEUED")))),
    ("I4", "left an end", lambda h: events(h, event(10, 31, Counts(3, 1), (0, "FAILED")))),
    ("I4", "from COMPLETED to PROCESSING", lambda h: events(h, event(10, 31, Counts(3, 1)))),
    ("I4", "from COMPLETED to COMPLETED", lambda h: events(h, event(10, 31, Counts(3, 1), status="COMPLETED"))),
    ("I5", "at 8", lambda h: replace(h, events=(h.events[0], replace(h.events[1], counts=Counts(1)), h.events[2]))),
    ("I5", "its rows", lambda h: operation(h, counts=Counts(sent=4))),
    ("I5", "its rows", lambda h: row(h, 1, replace(h.rows[1], status="SENT"))),
    ("I5", "COMPLETED with 4 of 5", lambda h: operation(h, recipients=5)),
    ("I5", "a day", lambda h: replace(h, daily={ACCOUNT: Counts(sent=4, failed=1)})),
    ("I6", "was told to be ['SENT', 'SENT']", lambda h: events(h, event(10, 31, Counts(4, 1), (0, "SENT")))),
    ("I6", "is FAILED", lambda h: row(h, 0, replace(h.rows[0], status="FAILED"))),
    ("I6", "was told to be None", lambda h: replace(h, events=(h.events[0], h.events[2]))),
    ("I6", "gaps", lambda h: replace(h, events=(*h.events[:2], replace(h.events[2], seq=10)))),
    ("I6", "gaps", lambda h: replace(h, events=(*h.events[:2], replace(h.events[2], seq=8)))),
    ("I6", "gaps", lambda h: replace(h, notices=[(ACCOUNT, 9)])),
    ("I7", "is in no send", lambda h: calls(h, call("stranger", 5))),
    ("I7", "before its send", lambda h: operation(h, created_at=at(1.5))),
    ("I8", "called again", lambda h: calls(h, call("a", 5))),
    ("I8", "called again", lambda h: calls(h, call("dead", 20, 404))),
    ("I8", "called again", lambda h: calls(h, call("phone", 20))),
    ("I8", "called again", lambda h: replace(h, losses=[replace(h.losses[0], at=at(21))])),
    ("I8", "called again", lambda h: replace(h, losses=[replace(h.losses[0], at=at(12.5))])),
    ("I8", "called again", lambda h: replace(h, losses=[replace(h.losses[0], over=at(6))])),
    ("I8", "called again", lambda h: replace(h, losses=[replace(h.losses[0], in_hand=set())])),
    ("I8", "at most", lambda h: replace(h, losses=[replace(h.losses[0], at_most=0)])),
    ("I8", "are not one", lambda h: calls(h, call("b", 21, push_id="new"))),
    ("I8", "are another's", lambda h: replace(h, calls=(*h.calls[:-1], call("tablet", 8, 410, push_id="id-phone")))),
    ("I9", "is CANCELED", lambda h: row(h, 0, replace(h.rows[0], status="CANCELED"))),
    ("I9", "after the deadline", lambda h: replace(operation(h, deadline=at(3)), late=timedelta(seconds=10))),
    ("I9", "after the end", lambda h: replace(h, ends=[End(at(9), set(), operation=SEND)])),
    ("I9", "after the end", lambda h: replace(h, ends=[End(at(7), {Who(SEND, 0)}, tokens={"phone"})])),
    ("I10", "refused for good", lambda h: row(h, 1, replace(h.rows[1], status="SENT"))),
    ("I10", "and is gone", lambda h: replace(h, registered=set())),
    ("I10", "again, and is gone", lambda h: replace(h, registrations={**h.registrations, "tablet": [at(-9), at(9)]})),
    ("I10", "still registered", lambda h: replace(h, registered={"phone", "tablet"}, losses=())),
    ("I11", "before its send was due", lambda h: operation(h, due_at=at(1.5))),
    ("I11", "Retry-After", lambda h: replace(h, calls=(*h.calls[:3], call("b", 5), *h.calls[4:]))),
    ("I12", "waited for", lambda h: with_another(h, ended_at=at(31))),
    ("I12", "waited for", lambda h: with_another(h, ended_at=None)),
    ("I12", "beside sends in trouble", lambda h: with_another(h, counts=Counts(failed=1))),
    ("I12", "shows nothing", lambda h: with_another(h, created_at=at(-1))),
]


@pytest.mark.parametrize(("number", "finding", "forge"), FORGED)
def test_a_forged_history_is_found_out(number: str, finding: str, forge: Callable[[History], History]) -> None:
    found = broken(forge(good())).get(number, [])
    assert any(finding in line for line in found), found


def test_every_promise_is_tried_with_a_forged_history() -> None:
    assert {number for number, _, _ in FORGED} == set(VALIDATORS)
